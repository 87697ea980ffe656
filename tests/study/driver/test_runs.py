"""Real runs: the command line, Ray, real trainings on real digits, Parquet on disk."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from study.grid.load import load_grid
from study.store.heartbeat import BEAT_S
from trainables.digits.mnist import load_pool
from trainables.registry import start_training

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
STUDY = str(Path(sys.executable).with_name("study"))
WEIGHTS = [0, 1, 3, 10, 30, 100]
LONG = {
    "max_epochs": 120,
    "protocol": {"max_epochs": 120, "stop_patience": 120},
}  # cells of five seconds, without patience
METRICS = ["train_loss", "val_loss", "val_accuracy", "test_accuracy", "test_digit_accuracy"]


@pytest.fixture
def six_cells(tmp_path):
    """A grid of six cells that train some seconds each."""
    return write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": WEIGHTS}}, max_epochs=12)


def write_grid(folder, factors, max_epochs, **more):
    grid = {"name": "own", "description": "Of a test.", "seeds": 2, "factors": factors}
    grid |= {"protocol": {"max_epochs": max_epochs}, "stopping": {"scheduler": "none"}} | more
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return str(path)


def environment(address):
    names = {"RAY_ADDRESS", "STUDY_STORAGE", "STUDY_DATA_DIR"}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return clean | ({"RAY_ADDRESS": address} if address else {})


def study(*arguments, address=None, cwd=None):
    command = [STUDY, *map(str, arguments)]
    return subprocess.run(
        command, env=environment(address), cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def wait_for_line(process, pattern):
    seen = []
    for line in process.stdout:
        seen.append(line)
        if re.search(pattern, line):
            return "".join(seen)
    raise AssertionError(f"no line with {pattern!r} in:\n{''.join(seen)}")


@lru_cache
def directly_trained(cell, seeds):
    """Epoch rows of a cell trained without Ray, indexed by seed and epoch."""
    torch.set_num_threads(1)
    records = [record for epoch in start_training({cell: seeds}, load_pool(cell.data)) for record in epoch]
    rows = pd.DataFrame([vars(record) | dict(record.figures) for record in records])
    return rows.set_index(["seed", "epoch"])[METRICS].sort_index()


def assert_store_is_as_trained_directly(folder, cells, seeds):
    """Each trial once, and each number the bits of a training without Ray, store or disturbance."""
    rows = pd.read_parquet(folder / "trials"), pd.read_parquet(folder / "epochs")
    assert_rows_are_as_trained_directly(*rows, cells, seeds)


def assert_rows_are_as_trained_directly(trials, epochs, cells, seeds):
    assert sorted(trials["trial_id"]) == sorted(cell.trial_id(seed) for cell in cells for seed in seeds)
    epochs = epochs.astype({"epoch": "int64"})
    for cell in cells:
        rows = epochs[epochs["cell_id"] == cell.cell_id].set_index(["seed", "epoch"])[METRICS].sort_index()
        pd.testing.assert_frame_equal(rows, directly_trained(cell, tuple(seeds)), check_exact=True, check_dtype=False)


def test_interrupt_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, six_cells, start):
    command = ["run", "--grid", six_cells, "--storage", str(tmp_path)]
    process = start(*command)
    text = wait_for_line(process, "1 of 6 cells done")
    os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the whole group
    text += process.communicate(timeout=60)[0]
    assert process.returncode == 130, text
    assert "Traceback" not in text
    kept = len(pd.read_parquet(tmp_path / "own" / "trials")) // 2
    assert 1 <= kept < 6
    assert f"Interrupted: {kept} cells of this run are stored, {6 - kept} are not trained." in text
    assert f"To continue, run: study {' '.join(command)}" in text
    assert not (tmp_path / "own" / "scratch").exists()


def test_cell_whose_loss_is_not_finite_fails_and_the_others_go_on(tmp_path, cluster):
    grid = write_grid(tmp_path, {"learning_rate": {"role": "tuned", "values": [1e30, 1e-3]}}, max_epochs=2)
    run = study("run", "--grid", grid, "--storage", tmp_path, address=cluster.address)
    assert run.returncode == 1, run.stderr
    assert "failed: learning_rate 1e+30: " in run.stderr
    trials = pd.read_parquet(tmp_path / "own" / "trials").set_index("learning_rate")
    assert trials.loc[1e30, "status"].tolist() == ["failed", "failed"]
    assert trials.loc[1e30, "error"].str.startswith("the validation loss is nan after epoch 1").all()
    assert trials.loc[1e30, "test_accuracy"].isna().all()
    assert trials.loc[1e-3, "status"].tolist() == ["completed", "completed"]
    again = study("run", "--grid", grid, "--storage", tmp_path, address=cluster.address)
    assert (again.returncode, "2 trials of 1 cells to train" in again.stdout) == (1, True)
    assert len(pd.read_parquet(tmp_path / "own" / "trials")) == 4


@pytest.fixture
def mnist_folder(tmp_path):
    """A folder with the four files of MNIST; its grid trains one cell for an epoch on them."""
    source = os.environ.get("STUDY_TEST_MNIST_DIR")
    if not source:
        pytest.skip("STUDY_TEST_MNIST_DIR does not name a folder with the four files of MNIST")
    return Path(shutil.copytree(source, tmp_path / "mnist"))


ONE_CELL = {"aux_weight": {"role": "tuned", "values": [1]}}


def test_workers_find_the_data_in_a_relative_folder(tmp_path, cluster, mnist_folder):
    grid = write_grid(tmp_path, ONE_CELL, max_epochs=1)
    command = ["run", "--grid", grid, "--data", "mnist", "--data-dir", mnist_folder.name]
    run = study(*command, address=cluster.address, cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    trials = pd.read_parquet(tmp_path / "studies" / "own-mnist" / "trials")
    assert trials["status"].tolist() == ["completed", "completed"]


def test_cell_that_cannot_begin_is_failed_with_the_reason(tmp_path, cluster, mnist_folder, start):
    grid = write_grid(tmp_path, ONE_CELL, max_epochs=1)
    command = ["run", "--grid", grid, "--storage", tmp_path, "--data", "mnist", "--data-dir", mnist_folder]
    process = start(*command, address=cluster.address)
    wait_for_line(process, "2 trials of 1 cells to train")  # the driver has read the data, no worker has
    shutil.rmtree(mnist_folder)
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 1, text
    trials = pd.read_parquet(tmp_path / "own-mnist" / "trials")
    assert trials["status"].tolist() == ["failed", "failed"]
    assert trials["error"].str.startswith("DataError: ").all(), trials["error"].tolist()
    assert "failed: aux_weight 1: DataError: " in text


def workers_in_training(raylet):
    """Process ids of a raylet's workers that train a cell."""
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            title = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended in the meantime
            continue
        if parent == raylet and title.startswith((b"ray::ResourceTrainable.train", b"ray::PackTrainable.train")):
            pids.add(int(folder.name))
    return pids


def raylet_of(cluster):
    return cluster.head_node.all_processes["raylet"][0].process.pid


def kill_a_worker_in_training(raylet, but):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if pids := workers_in_training(raylet) - set(but):
            os.kill(pid := pids.pop(), signal.SIGKILL)
            return pid
        time.sleep(0.01)
    raise AssertionError("no worker has begun to train")


@pytest.mark.parametrize("kills", [1, 2])
def test_lost_worker_is_tried_again_as_often_as_asked(tmp_path, cluster, start, kills):
    grid = write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": [1]}}, max_epochs=24)
    process = start("run", "--grid", grid, "--storage", tmp_path, "--retries", 1, address=cluster.address)
    killed = []
    raylet = raylet_of(cluster)
    for _ in range(kills):
        killed.append(kill_a_worker_in_training(raylet, killed))
    text, _ = process.communicate(timeout=120)
    trials = pd.read_parquet(tmp_path / "own" / "trials")
    if kills == 1:
        assert process.returncode == 0, text
        assert_store_is_as_trained_directly(tmp_path / "own", load_grid(grid).cells(), range(2))
    else:
        assert process.returncode == 1, text
        assert trials["status"].tolist() == ["failed", "failed"]
        expected = "ActorDiedError: The actor died unexpectedly before finishing this task."
        assert trials["error"].tolist() == [expected] * 2


def test_asha_prunes_the_worse_cell_and_the_next_run_leaves_it(tmp_path, cluster):
    factors = {"learning_rate": {"role": "tuned", "values": [1e-2, 1e-9, 1e-3]}}
    stopping = {"scheduler": "asha", "grace_period": 8, "reduction_factor": 2}
    grid = write_grid(tmp_path, factors, max_epochs=10, stopping=stopping)
    # With two cores a cell, one cell runs at a time: the order in which cells reach the rung is the grid's.
    command = ["run", "--grid", grid, "--storage", tmp_path, "--cpus-per-trial", 2]
    run = study(*command, address=cluster.address)
    assert run.returncode == 0, run.stderr
    assert "learning_rate 1e-09: pruned at epoch 8" in run.stdout
    trials = pd.read_parquet(tmp_path / "own" / "trials").set_index("learning_rate")
    assert trials.loc[1e-9, ["status", "epochs"]].to_numpy().tolist() == [["pruned", 8]] * 2
    assert set(trials.drop(1e-9)["status"]) <= {"completed", "pruned"}
    again = study(*command, address=cluster.address)
    assert (again.returncode, "nothing to train" in again.stdout) == (0, True)
    unpruned = study(*command, "--scheduler", "none", address=cluster.address)
    assert unpruned.returncode == 0, unpruned.stderr
    trials = pd.read_parquet(tmp_path / "own" / "trials")
    assert (len(trials), set(trials["status"])) == (6, {"completed"})


def test_asha_remembers_cells_of_earlier_runs(tmp_path, cluster):
    stopping = {"scheduler": "asha", "grace_period": 8, "reduction_factor": 2}
    for values in ([1e-2], [1e-2, 1e-9]):
        factors = {"learning_rate": {"role": "tuned", "values": values}}
        grid = write_grid(tmp_path, factors, max_epochs=10, stopping=stopping)
        run = study("run", "--grid", grid, "--storage", tmp_path, address=cluster.address)
        assert run.returncode == 0, run.stderr
    trials = pd.read_parquet(tmp_path / "own" / "trials").set_index("learning_rate")
    assert trials.loc[1e-9, "status"].tolist() == ["pruned", "pruned"]


def test_file_cut_in_half_is_named_everywhere_and_restored_by_a_run(tmp_path, cluster):
    command = ["run", "--grid", "smoke", "--storage", tmp_path]
    study(*command, address=cluster.address)
    (path,) = (tmp_path / "smoke" / "trials").glob(f"{load_grid('smoke').cells()[0].cell_id}*")
    whole = pd.read_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for arguments in (["list"], ["plan", "--grid", "smoke"], ["analyze", "smoke", "--out", tmp_path / "report"]):
        shown = study(*arguments, "--storage", tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert path.name in shown.stderr
    restored = study(*command, address=cluster.address)
    assert f"trials/{path.name} cannot be read" in restored.stderr
    assert "2 trials of 1 cells to train" in restored.stdout
    times = ["train_time_s", "started_at", "finished_at"]
    pd.testing.assert_frame_equal(pd.read_parquet(path).drop(columns=times), whole.drop(columns=times))
    assert_store_is_as_trained_directly(tmp_path / "smoke", load_grid("smoke").cells(), range(2))


def test_confirmation_trains_the_chosen_cells_with_fresh_seeds(tmp_path, cluster):
    factors = {"sharing": {"role": "scientific"}, "aux_weight": {"role": "tuned"}}
    cells = [{"sharing": sharing, "aux_weight": weight} for sharing in (False, True) for weight in (0, 10)]
    contrast = {"name": "weight", "plus": [{"aux_weight": 10}], "minus": [{"sharing": False, "aux_weight": 0}]}
    grid = write_grid(tmp_path, factors, max_epochs=2, cells=cells, contrasts=[contrast])
    assert study("run", "--grid", grid, "--storage", tmp_path, address=cluster.address).returncode == 0
    before = pd.read_parquet(tmp_path / "own" / "trials").sort_values("trial_id")
    confirm = study("confirm", "own", "--seeds", 2, "--storage", tmp_path, address=cluster.address)
    assert (confirm.returncode, confirm.stderr) == (0, "")
    assert "Selection and confirmation" in confirm.stdout
    assert f"Next: study analyze own --storage {tmp_path}" in confirm.stdout
    fresh = pd.read_parquet(tmp_path / "own-confirm" / "trials")
    winners = before.groupby(["sharing", "cell_id"])["val_accuracy"].mean().groupby("sharing").idxmax()
    chosen = {cell_id for _, cell_id in winners}
    assert chosen <= set(fresh["cell_id"]) <= set(before["cell_id"])
    assert sorted(set(fresh["seed"])) == [1_000_000, 1_000_001]
    assert set(fresh["status"]) == {"completed"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "own" / "trials").sort_values("trial_id"), before)
    info = json.loads((tmp_path / "own-confirm" / "study.json").read_text())
    assert (info["confirms"], info["contrasts"][0]["name"]) == ("own", "weight")
    again = study("confirm", "own", "--seeds", 2, "--storage", tmp_path, address=cluster.address)
    assert (again.returncode, "nothing to train" in again.stdout) == (0, True)
    for arguments, message in (
        (["own", "--seeds", 1], "--seeds 1: expected 2 to 1,000,000"),
        (["own-confirm"], "the study own-confirm is itself the confirmation of own; confirm that one"),
        (["none"], "no study 'none'"),
    ):
        refused = study("confirm", *arguments, "--storage", tmp_path, address=cluster.address)
        assert refused.returncode == 2
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr


def test_workers_run_the_code_of_the_driver(tmp_path, cluster):
    """The cluster's nodes have the project too, and do not see the driver's folder; they train with its code."""
    apart = ["unshare", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("hiding a folder from the workers needs root")
    grid = write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": [1]}}, max_epochs=2)
    (tmp_path / "hidden").mkdir()
    script = """
mount -t tmpfs tmpfs hidden
cp -r "$0/study" "$0/trainables" "$0/analysis" hidden
sed -i 's/^    def step.*/&\\n        raise OSError(__file__)/' hidden/trainables/tune_cell.py
cd hidden
PYTHONPATH=. exec "$@"
"""
    command = [sys.executable, "-m", "study", "run", "--grid", grid, "--storage", tmp_path, "--retries", "0"]
    run = subprocess.run(
        [*apart, "sh", "-ec", script, Path(__file__).parents[3], *command],
        env=environment(cluster.address),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    (error,) = set(pd.read_parquet(tmp_path / "own" / "trials")["error"])
    assert re.fullmatch(r"OSError: .*/runtime_resources/py_modules_files/.*/trainables/tune_cell.py", error)


@contextmanager
def cells_held(cluster):
    """Hold the cells of a run on both cores in mid-training, so that it goes on for as long as a test needs."""
    raylet, held, deadline = raylet_of(cluster), set(), time.monotonic() + 120
    try:
        while len(held) < 2:
            assert time.monotonic() < deadline
            for pid in workers_in_training(raylet) - held:
                os.kill(pid, signal.SIGSTOP)
                held.add(pid)
            time.sleep(0.01)
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)


def test_a_second_driver_is_refused_and_status_shows_the_first(tmp_path, cluster, six_cells, start):
    command = ["run", "--grid", six_cells, "--storage", str(tmp_path)]
    first = start(*command, address=cluster.address)
    seen = wait_for_line(first, "1 of 6 cells done")
    with cells_held(cluster):
        second = study(*command, address=cluster.address)
        status = study("status", "own", "--storage", tmp_path)
    assert second.returncode == 2
    assert f"the study own is being run by process {first.pid} on" in second.stderr
    assert "Traceback" not in second.stderr
    assert (status.returncode, status.stderr) == (0, "")
    assert f"Run by process {first.pid} on" in status.stdout
    assert "nodes: 1" in status.stdout
    assert re.search(r"12 trials: \d+ finished, \d+ not trained yet", status.stdout)
    seen += first.communicate(timeout=240)[0]
    assert first.returncode == 0, seen
    assert not (tmp_path / "own" / "driver.json").exists()
    assert_store_is_as_trained_directly(tmp_path / "own", load_grid(six_cells).cells(), range(2))
    done = study("status", "own", "--storage", tmp_path).stdout
    assert "own: 12 trials: 12 finished" in done
    assert "No run is in progress." in done
    # Cells trained at once, on both cores.
    cells = pd.read_parquet(tmp_path / "own" / "trials").drop_duplicates("cell_id").sort_values("started_at")
    assert (cells["started_at"].to_numpy()[1:] < cells["finished_at"].to_numpy()[:-1]).any()


def test_a_run_whose_study_was_taken_ends_in_one_line(tmp_path, cluster, six_cells, start):
    first = start("run", "--grid", six_cells, "--storage", str(tmp_path), address=cluster.address)
    wait_for_line(first, "1 of 6 cells done")
    with cells_held(cluster):
        held = json.loads((tmp_path / "own" / "driver.json").read_text())
        taken = tmp_path / "own" / ".taken"
        taken.write_text(json.dumps(held | {"id": "other", "host": "elsewhere"}))
        taken.rename(tmp_path / "own" / "driver.json")
        time.sleep(BEAT_S + 1)
    text = first.communicate(timeout=120)[0]
    assert first.returncode == 2, text
    assert "Traceback" not in text
    assert f"the study own is being run by process {first.pid} on elsewhere" in text
    assert json.loads((tmp_path / "own" / "driver.json").read_text())["id"] == "other"


def test_a_cell_that_hangs_is_failed_with_the_reason_and_the_next_run_mends_it(tmp_path, cluster):
    grid = write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": [1, 10]}}, max_epochs=2)
    command = ["run", "--grid", grid, "--storage", tmp_path]
    hung = study(*command, "--epoch-limit", 0.0001, "--retries", 1, address=cluster.address)
    assert hung.returncode == 1, hung.stderr
    reason = "TimeoutError: epoch 1 took longer than 0.0001 s, the epoch limit"
    assert pd.read_parquet(tmp_path / "own" / "trials")["error"].tolist() == [reason] * 4
    assert reason in study("status", "own", "--storage", tmp_path).stdout
    assert study(*command, address=cluster.address).returncode == 0
    assert_store_is_as_trained_directly(tmp_path / "own", load_grid(grid).cells(), range(2))
