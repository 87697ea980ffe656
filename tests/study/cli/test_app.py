"""What the commands refuse and show without training anything; test_runs.py has the rest."""

import json
import os
import pty
import re
import shutil
import subprocess

import pytest

from study.grid.load import load_grid
from study.grid.shipped import grid_names
from study.plan.jobs import study_info
from study.store.store import Store
from tests.study.cli.conftest import STUDY, clean
from tests.study.conftest import record
from trainables.digits.settings import CellConfig


def begin_smoke(name, data=None):
    """Leave what a run of the grid smoke leaves before its first cell has ended."""
    grid = load_grid("smoke")
    store = Store("studies", name)
    store.write_info(study_info(name, grid, grid.cells(data), range(2), None))
    return store


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--grid", "fulll"], "unknown grid 'fulll': did you mean full?"),
        (["plan", "--grid", "nowhere.yaml"], "no grid file nowhere.yaml"),
        (["run", "--grid", "smoke", "--seeds", "0"], "--seeds 0: expected 1 to 1,000,000"),
        (["run", "--grid", "smoke", "--name", "a/b"], "study name 'a/b': expected up to 100 letters"),
        (["run", "--grid", "smoke", "--storage", "/dev/null/x"], "cannot"),
        (["run", "--grid", "smoke", "--gpus-per-trial", "64"], "--gpus-per-trial 64: this machine has"),
        (["run", "--grid", "smoke", "--cpus-per-trial", "0"], "--cpus-per-trial 0: expected at least 1"),
        (["run", "--grid", "smoke", "--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["run", "--grid", "smoke", "--address", "127.0.0.1:1"], "cannot reach a Ray cluster at 127.0.0.1:1"),
        (["list", "--storage", "bad.yaml"], "cannot read the storage bad.yaml"),
        (["plan", "--grid", "bad.yaml"], "grid file bad.yaml cannot be read"),
        (["plan", "--grid", "smoke", "--nodes", "0"], "--nodes 0: expected 1 to 100,000"),
        (["analyze"], "no study in studies: a run leaves its results there"),
        (["analyze", "unknown"], "no study in studies"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(study, tmp_path, arguments, message):
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    code, _, errors = study(*arguments)
    assert code == 2
    assert errors.startswith("study: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "--grid", "smoke", "--scheduler", "hyperband"],
        ["run", "--grid", "smoke", "--data", "cifar"],
        ["run", "--grid", "smoke", "--seeds", "many"],
        ["unknown"],
    ],
)
def test_bad_options_are_exit_code_2(study, arguments):
    code, _, errors = study(*arguments)
    assert code == 2
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "cut", ["name: [", "name: x\ndescription: y\nfactors: {dropout: {role: tuned, values: [1.5]}}"]
)
def test_bad_grid_file_leaves_the_storage_alone(study, tmp_path, cut):
    (tmp_path / "bad.yaml").write_text(cut)
    code, _, errors = study("run", "--grid", "bad.yaml")
    assert (code, errors.count("\n")) == (2, 1)
    assert not (tmp_path / "studies").exists()


def test_analyzing_an_unknown_or_empty_study(study, tmp_path):
    begin_smoke("begun")
    assert study("analyze", "unknown")[0::2] == (
        2,
        "study: no study 'unknown' in studies: expected one of begun\n",
    )
    code, _, errors = study("analyze")
    assert code == 2
    assert (
        "study 'begun' in studies has no finished trial of 8; continue it with the study run command that began it"
        in errors
    )


def test_grids_lists_all_with_their_sizes(study):
    code, text, _ = study("grids")
    sizes = {line.split()[0]: line.split()[1:4] for line in text.splitlines() if line.split()[0] in grid_names()}
    assert code == 0
    assert sizes == {
        "smoke": ["4", "2", "8"],
        "table1": ["9", "10", "90"],
        "protocol": ["16", "10", "160"],
        "dropout-or-rate": ["24", "10", "240"],
        "search": ["30", "5", "150"],
        "full": ["33", "10", "330"],
        "beyond": ["8", "10", "80"],
    }


def test_plan_and_list_count_what_the_store_has_and_write_nothing(study, tmp_path, make_result):
    code, text, _ = study("plan", "--grid", "smoke")
    assert (code, "4 cells x 2 seeds = 8 trials; in the store: none; 8 trials of 4 cells to train" in text) == (0, True)
    assert list(tmp_path.iterdir()) == []
    assert "No study in studies. To start one, run: study run --grid smoke" in study("list")[1]

    cell = CellConfig(sharing=True, max_epochs=3)
    store = begin_smoke("smoke")
    store.write(make_result([record(0, 3, "completed"), record(1, 1, "failed", error="made")], cell))
    _, text, _ = study("plan", "--grid", "smoke")
    assert "in the store: 1 completed; 7 trials of 4 cells to train" in text
    line = next(line for line in text.splitlines() if cell.cell_id in line)
    assert line.split()[1:] == ["on", "0", "1", "completed,", "1", "failed", "1"]
    assert study("list")[1].splitlines()[-1].split() == ["smoke", "smoke", "4", "1", "0", "1", "6"]


def test_more_than_the_pool_has_is_refused_before_ray_starts(study, tmp_path):
    (tmp_path / "big.yaml").write_text(
        "name: big\ndescription: Too big.\nfactors: {sharing: {role: scientific, values: [off]}}\n"
        "protocol: {train_pairs: 2400}\n"
    )
    code, _, errors = study("run", "--grid", "big.yaml")
    assert code == 2
    assert "3,400 train and test pairs: the data source has 5,000 images" in errors


def test_another_data_source_under_the_same_name_is_refused(study, tmp_path):
    begin_smoke("smoke", "mnist")
    before = (tmp_path / "studies/smoke/study.json").read_bytes()
    code, _, errors = study("run", "--grid", "smoke")
    assert code == 2
    assert "the study smoke was run with data mnist, now it is mnist5k" in errors
    assert (tmp_path / "studies/smoke/study.json").read_bytes() == before


def test_a_study_of_a_later_version_is_refused_and_kept(study, tmp_path):
    begin_smoke("smoke")
    path = tmp_path / "studies" / "smoke" / "study.json"
    path.write_text(json.dumps({"schema": 2}))
    code, _, errors = study("run", "--grid", "smoke")
    assert (code, "schema 2, expected 1" in errors) == (2, True)
    assert json.loads(path.read_text()) == {"schema": 2}


def test_damaged_study_can_be_removed_by_hand(study, tmp_path):
    """A study is a folder and no more: deleting it forgets it."""
    begin_smoke("smoke")
    assert "smoke" in study("list")[1]
    shutil.rmtree(tmp_path / "studies" / "smoke")
    assert "No study in studies" in study("list")[1]


def test_plan_says_what_machines_would_take(study):
    _, text, _ = study("plan", "--grid", "full", "--nodes", "4", "--cpus", "4", "--gpus", "0", "--price", "3.6")
    # 330 trainings of 1.01 s on 16 slots are 21 s; the slowest cell, of 10 seeds, takes 15 s
    assert "on 4 x 4 cores: 16 cells at once, each with 1 cores; about 21 s to 35 s, at a price" in text
    assert "at a price of 0.08 to 0.14, plus the start of the machines, at 1.01 s per training (measured: " in text
    _, text, _ = study("plan", "--grid", "full", "--nodes", "2", "--cpus", "48", "--gpus", "4")
    # 33 cells over 8 GPUs
    assert "on 2 x 48 cores and 4 GPUs: 8 stacks of up to 5 cells at once, each with 1 cores and 1 GPUs" in text
    assert (
        "at 0.10 s per training (measured: 4 cells of 10 seeds, each in a stack of its own on an NVIDIA H200)" in text
    )
    _, text, _ = study("plan", "--grid", "beyond", "--nodes", "1", "--cpus", "8", "--gpus", "1")
    assert "no time is known for such cells on a cuda device: train one there, then plan again" in text


def test_plan_takes_the_rate_of_the_study_itself(study, make_result):
    store = begin_smoke("smoke")
    cell = load_grid("smoke").cells()[0]  # a minute for its two seeds
    store.write(make_result([record(seed, 3, "completed") for seed in (0, 1)], cell))
    _, text, _ = study("plan", "--grid", "smoke", "--cpus", "1", "--gpus", "0")
    assert "about 3 min 00 s to 3 min 00 s" in text
    assert "at 30.00 s per training (measured: the 2 trainings of smoke on cpu)" in text


def on_a_terminal(arguments, cwd, environment):
    """What a command writes to a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen([STUDY, *arguments], cwd=cwd, env=environment, stdout=its, stderr=its, stdin=its) as process:
        os.close(its)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # so a terminal whose other end is closed says that there is no more
            pass
        process.wait()
    os.close(ours)
    return text.decode()


@pytest.mark.parametrize("arguments", [["--help"], ["grids", "show", "smoke"], ["run", "--grid", "x"]])
def test_no_color(tmp_path, arguments):
    colour = re.compile(r"\x1b\[[0-9;]*(?:3[0-8]|9[0-7])[0-9;]*m")
    coloured = on_a_terminal(arguments, tmp_path, clean(TERM="xterm-256color"))
    assert colour.search(coloured)
    plain = on_a_terminal(arguments, tmp_path, clean(TERM="xterm-256color", NO_COLOR="1"))
    assert plain
    assert not colour.search(plain)


def test_verbose_adds_the_traceback_wherever_it_stands(study):
    plain, early, late = (
        study(*words)
        for words in (
            ["plan", "--grid", "x"],
            ["--verbose", "plan", "--grid", "x"],
            ["plan", "--grid", "x", "--verbose"],
        )
    )
    assert "Traceback" not in plain[2]
    assert early[2].startswith("Traceback")
    assert late[2].startswith("Traceback")
    assert early[2].endswith(plain[2])
