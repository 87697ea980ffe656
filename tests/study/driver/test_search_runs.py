"""Real searches: the command line, Ray, Optuna, real trainings, Parquet on disk."""

import json

import pandas as pd
import pytest
import yaml

from study.store.study_json import config_of
from tests.study.driver.test_runs import assert_store_is_as_trained_directly, study, wait_for_line

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
RANGES = {"aux_weight": {"low": 0.1, "high": 10, "log": True}, "dropout": {"low": 0, "high": 0.5}}
PROTOCOL = {"max_epochs": 2, "train_pairs": 400, "test_pairs": 200}


def write_search(folder, budget, ranges=RANGES, protocol=PROTOCOL, **more):
    search = {"ranges": ranges, "budget": budget, "startup": 2}
    grid = {"name": "own", "description": "Of a test.", "seeds": 2, "protocol": protocol, "search": search}
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({"stopping": {"scheduler": "none"}} | grid | more))
    return str(path)


def cells_of(storage):
    return [config_of(cell) for cell in json.loads((storage / "own" / "study.json").read_text())["cells"]]


def search(storage, cluster, trainings):
    """Run a search, a cell after the other: each has both cores. On a cluster one more waits, and none knows of it."""
    storage.mkdir(exist_ok=True)
    grid = write_search(storage, {"trainings": trainings})
    return study("run", "--grid", grid, "--storage", storage, "--cpus-per-trial", 2, address=cluster.address)


def test_a_search_goes_on_with_a_larger_budget_and_is_then_over(tmp_path, cluster):
    first = search(tmp_path, cluster, 6)
    assert first.returncode == 0, first.stderr
    assert (
        "2 trials of 1 cells to train; then the search suggests up to 2 cells: its budget is 6 trainings"
        in first.stdout
    )
    assert "3 of 3 cells done" in first.stdout
    kept = {path: path.read_bytes() for path in (tmp_path / "own").rglob("*.parquet")}
    assert len(kept) == 6

    grid = write_search(tmp_path, {"trainings": 10})
    planned = study("plan", "--grid", grid, "--storage", tmp_path, "--json")
    plan = json.loads(planned.stdout)
    assert (len(plan["cells"]), plan["to_train"]) == (3, 0)
    assert plan["search"] == "then the search suggests up to 2 cells: its budget is 10 trainings"
    second = search(tmp_path, cluster, 10)
    assert second.returncode == 0, second.stderr
    assert "nothing to train; then the search suggests up to 2 cells" in second.stdout
    assert kept.items() <= {path: path.read_bytes() for path in (tmp_path / "own").rglob("*.parquet")}.items()
    cells = cells_of(tmp_path)
    assert len(set(cells)) == 5
    assert_store_is_as_trained_directly(tmp_path / "own", cells, range(2))
    for line in study("list", "--storage", tmp_path).stdout.splitlines()[-1:]:
        assert line.split() == ["own", "own", "5", "of", "5", "10", "0", "0", "0"]
    shown = study("status", "own", "--storage", tmp_path).stdout
    assert "own: 10 trials: 10 finished" in shown
    assert "a search with a budget of 10 trainings; it has suggested 5 cells so far" in " ".join(shown.split())

    third = search(tmp_path, cluster, 10)
    assert (third.returncode, "the search is over: its budget is 10 trainings" in third.stdout) == (0, True)
    assert cells_of(tmp_path) == cells
    confirm = study("confirm", "own", "--seeds", 2, "--storage", tmp_path, address=cluster.address)
    assert (confirm.returncode, confirm.stderr) == (0, "")
    trials = pd.read_parquet(tmp_path / "own" / "trials")
    best = trials.groupby("cell_id")["val_accuracy"].mean().idxmax()
    assert set(pd.read_parquet(tmp_path / "own-confirm" / "trials")["cell_id"]) == {best}


def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path, cluster, start):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert search(whole, cluster, 12).returncode == 0
    killed.mkdir()
    grid = write_search(killed, {"trainings": 12})
    command = ["run", "--grid", grid, "--storage", str(killed), "--cpus-per-trial", "2"]
    process = start(*command, address=cluster.address)
    wait_for_line(process, "3 of 6 cells done")
    process.kill()
    process.wait()
    begun = cells_of(killed)
    assert 3 <= len(begun) < 6
    again = study(*command, address=cluster.address)
    assert again.returncode == 0, again.stderr
    assert cells_of(killed)[: len(begun)] == begun
    assert cells_of(killed) == cells_of(whole)
    assert_store_is_as_trained_directly(killed / "own", cells_of(whole), range(2))


def test_a_suggested_cell_is_pruned_beside_its_rivals_and_a_small_space_ends_the_search(tmp_path, cluster):
    grid = write_search(
        tmp_path,
        {"minutes": 60},
        {"learning_rate": {"choices": [1e-2, 1e-9]}},
        {"max_epochs": 10},
        stopping={"scheduler": "asha", "grace_period": 8, "reduction_factor": 2},
    )
    run = study("run", "--grid", grid, "--storage", tmp_path, "--cpus-per-trial", 2, address=cluster.address)
    assert run.returncode == 0, run.stderr
    trials = pd.read_parquet(tmp_path / "own" / "trials").set_index("learning_rate")
    assert len(trials) == 4
    assert "| 2 cells done, 1 pruned" in run.stdout
    assert set(trials.loc[1e-2, "status"]) <= {"completed", "converged"}
    assert trials.loc[1e-9, ["status", "epochs"]].to_numpy().tolist() == [["pruned", 8]] * 2
    refused = study("run", "--grid", grid, "--storage", tmp_path, "--cells-per-trial", 4, address=cluster.address)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "study: --cells-per-trial 4: a search trains one cell in a stack; leave it out\n"
