"""Runs whose model is a function, under a real Ray: what is stored of each way in which it ends."""

import os
import shutil
import signal
import time

import pandas as pd
import pytest
import yaml

from tests.conftest import started_ray
from tests.study.driver import function_models
from tests.study.driver.test_runs import kill_a_worker_in_training, study
from trainables.functions.function_training import FunctionTraining
from trainables.functions.seed_training import Limits, SeedTraining

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FIGURES = ["val_rmse", "test_rmse"]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the module of the functions and a grid; return the arguments of a run of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(function_models.__file__, tmp_path / "own_functions.py")

    def grid(function, factors, scheduler="none", **protocol):
        content = {"name": "own", "description": "Of a test.", "seeds": 2, "factors": factors}
        content["protocol"] = {"model": f"own_functions:{function}", "folder": str(tmp_path), **protocol}
        content["stopping"] = {"scheduler": scheduler, "grace_period": 2, "reduction_factor": 2}
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return ["run", "--grid", tmp_path / "own.yaml", "--storage", tmp_path]

    return grid


def rows(tmp_path, kind="trials"):
    return pd.read_parquet(tmp_path / "own" / kind).sort_values(["cell_id", "seed"])


def directly(function, seeds=(0, 1), **settings):
    """Epoch rows of a training without Ray or disturbance, by seed and epoch."""
    cell = function_models.Settings(model=f"own_functions:{function.__name__}", **settings)
    limits = Limits("val_rmse", 60)
    training = FunctionTraining({(cell.cell_id, seed): SeedTraining(function, cell, seed, limits) for seed in seeds})
    records = {(record.seed, record.epoch): record.figures for epoch in training for record in epoch}
    return cell, pd.DataFrame.from_dict(records, orient="index", columns=FIGURES).rename_axis(["seed", "epoch"])


def assert_as_trained_directly(tmp_path, function, levels, **settings):
    epochs = rows(tmp_path, "epochs").astype({"epoch": "int64"}).set_index(["cell_id", "seed", "epoch"])
    for level in levels:
        cell, expected = directly(function, level=level, folder=str(tmp_path), **settings)
        found = epochs.loc[cell.cell_id][FIGURES].sort_index()
        pd.testing.assert_frame_equal(found, expected.sort_index(), check_exact=True, check_dtype=False)
    assert len(epochs) == 2 * settings["max_epochs"] * len(levels)


def test_each_way_to_end_is_stored_as_what_it_is(tmp_path, cluster, write):
    ways = ["well", "raises", "hangs", "nan", "tensor", "prints", "draws", "once", "never"]
    command = write("train", {"how": {"role": "scientific", "values": ways}}, max_epochs=4)
    run = study(*command, "--epoch-limit", 1, address=cluster.address, cwd=tmp_path)
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert "a line of its own" not in run.stdout
    trials = rows(tmp_path).set_index(["how", "seed"])
    ended = {(how, seed): status for how in ways for seed, status in trials.loc[how]["status"].items()}
    failed = {(how, 1) for how in ("raises", "hangs", "nan", "tensor")} | {("never", 0), ("never", 1)}
    for key, status in ended.items():
        assert status == ("failed" if key in failed else "converged" if key[0] == "once" else "completed"), key
    errors = {
        "raises": "epoch 3: ZeroDivisionError: no examples are left (own_functions.py, line ",
        "hangs": "epoch 3: TimeoutError: epoch 3 took longer than 1 s, the epoch limit (own_functions.py",
        "nan": "epoch 3: val_rmse, the objective, is not a finite number",
        "tensor": "epoch 3: val_rmse is a Tensor of shape [2]: expected one number",
        "never": "the function ended before its first yield",
    }
    for how, error in errors.items():
        assert trials.loc[how, 1]["error"].startswith(error)
        assert f"failed: how {how}: seed " in run.stderr
    assert trials.loc["raises", 1][["epochs", "val_rmse"]].isna().tolist() == [False, True]
    # A seed that another one disturbs, or that has no other, has the same numbers.
    first = trials.xs(0, level="seed")
    for how in ("raises", "hangs", "prints", "draws"):
        assert first.loc[how, "val_rmse"] == pytest.approx(first.loc["well", "val_rmse"], abs=1e-6)  # a float32 there
        assert first.loc[how, "train_rmse"] == first.loc["well", "train_rmse"]
    assert first.loc["well", ["val_r2", "val_bias"]].tolist() == [0.5, 0.0]
    assert first[["test_rmse", "test_r2", "train_r2"]].isna().all(axis=None)


def test_asha_prunes_the_larger_error_and_closes_its_functions(tmp_path, cluster, write):
    levels = [1.0, 2.0, 3.0, 4.0]
    factors = {"level": {"role": "tuned", "values": levels}}
    command = write("open_file", factors, "asha", max_epochs=8, wait_s=0.05)
    run = study(*command, "--epoch-limit", 30, address=cluster.address, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    status = rows(tmp_path).groupby("level")["status"].agg(set)
    assert status[1.0] == {"completed"}
    assert {"pruned"} in status.tolist()
    assert status[4.0] == {"pruned"}
    closed = {path.name: path.read_text() for path in tmp_path.glob("*-?.txt")}
    assert closed == {f"{level}-{seed}.txt": "closed" for level in levels for seed in (0, 1)}


def wait_until(happened, process):
    deadline = time.monotonic() + 200
    while not happened():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def wait_for_a_checkpoint(tmp_path, process):
    # A folder is there before Tune knows of it: a later one shows that the first is known.
    folder = tmp_path / "own" / "scratch" / "tune"
    wait_until(lambda: any(path.name > "checkpoint_000000" for path in folder.glob("*/checkpoint_*")), process)


def test_a_cell_whose_worker_is_killed_goes_on_from_what_its_function_saved(tmp_path, cluster, write, start):
    levels, settings = [0.1], {"max_epochs": 40, "wait_s": 0.05}  # of two cells, one may not have saved yet
    command = write("saving", {"level": {"role": "tuned", "values": levels}}, **settings)
    process = start(*command, address=cluster.address)
    wait_for_a_checkpoint(tmp_path, process)
    kill_a_worker_in_training(cluster.head_node.all_processes["raylet"][0].process.pid, but=())
    text = process.communicate(timeout=200)[0]
    assert process.returncode == 0, text
    assert_as_trained_directly(tmp_path, function_models.saving, levels, **settings)
    assert {first for _, first, _ in seeds_begun(tmp_path)} > {1}


@pytest.fixture
def two_nodes():
    """A head that trains nothing, and two machines of one core."""
    with started_ray(0) as started:
        for _ in range(2):
            started.add_node(num_cpus=1)
        yield started


def seeds_begun(tmp_path):
    """Read which seed began at which epoch in which process, in order."""
    path = tmp_path / "begun.txt"
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.faults
def test_seeds_on_two_nodes_go_on_after_one_of_their_actors_is_killed(tmp_path, two_nodes, write, start):
    levels, settings = [0.1, 0.2], {"max_epochs": 30, "wait_s": 0.05}
    command = write("saving", {"level": {"role": "tuned", "values": levels}}, **settings)
    process = start(*command, "--cpus-per-seed", 1, address=two_nodes.address)
    wait_for_a_checkpoint(tmp_path, process)
    (seed, first, pid), (other_seed, other_first, other_pid) = seeds_begun(tmp_path)
    assert ({seed, other_seed}, first, other_first) == ({0, 1}, 1, 1)
    assert pid != other_pid
    os.kill(pid, signal.SIGKILL)
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert text.count("it continues from its last checkpoint") == 1
    begun = seeds_begun(tmp_path)
    assert len({pid for _, _, pid in begun}) == len(begun) == 6  # two for each cell, and two for the one set back
    assert sorted(first > 1 for _, first, _ in begun) == [False] * 4 + [True] * 2
    assert_as_trained_directly(tmp_path, function_models.saving, levels, **settings)


@pytest.mark.faults
def test_a_driver_that_is_killed_and_run_again(tmp_path, cluster, write, start):
    levels, settings = [0.1, 0.2, 0.3], {"max_epochs": 20, "wait_s": 0.05}
    command = write("saving", {"level": {"role": "tuned", "values": levels}}, **settings)
    process = start(*command, address=cluster.address)
    wait_until(lambda: len(seeds_begun(tmp_path)) > 2, process)  # one cell has ended, or two have begun
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    final = start(*command, address=cluster.address)
    text = final.communicate(timeout=300)[0]
    assert final.returncode == 0, text
    assert_as_trained_directly(tmp_path, function_models.saving, levels, **settings)


def test_only_cells_of_undecided_contrasts_get_seeds_and_a_run_that_lost_some_goes_on(tmp_path, cluster, write):
    command = [*write("noisy", {"level": {"role": "scientific", "values": [0, 0.01, 30]}}, max_epochs=1)]
    grid = yaml.safe_load((tmp_path / "own.yaml").read_text())
    grid |= {"seeds": 4, "replicate": {"looks": [4, 8], "margin": 0.01}}
    compared = {"far": 30, "near": 0.01}
    grid["contrasts"] = [
        {"name": name, "plus": [{"level": compared[name]}], "minus": [{"level": 0}]} for name in compared
    ]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(grid))

    def run_until_decided():
        run = study(*command, "--until-decided", address=cluster.address, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert "far: differs, " in run.stdout
        assert "near: undecided, " in run.stdout
        clocks = ["started_at", "finished_at", "train_time_s"]
        return rows(tmp_path).drop(columns=clocks).reset_index(drop=True)

    whole = run_until_decided()
    assert whole.groupby("level").size().to_dict() == {0: 8, 0.01: 8, 30: 4}
    for path in (tmp_path / "own" / "trials").iterdir():
        if set(pd.read_parquet(path)["seed"]) == {4, 5, 6, 7}:
            path.unlink()
    assert len(rows(tmp_path)) == 12
    pd.testing.assert_frame_equal(run_until_decided(), whole)
