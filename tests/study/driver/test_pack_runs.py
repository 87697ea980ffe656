"""Runs of packs: what is stored and pruned is what single cells would have, under a real Ray."""

import pandas as pd
import pytest

from study.grid.load import load_grid
from tests.study.driver.test_runs import (
    assert_rows_are_as_trained_directly,
    kill_a_worker_in_training,
    raylet_of,
    study,
    write_grid,
)
from trainables.digits.mnist import load_pool
from trainables.registry import start_training

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
SAME = ["cell_id", "seed", "trial_id", "status", "epochs", "aux_weight", "dropout", "learning_rate", "error"]
ACCURACIES = ["val_accuracy", "test_accuracy", "test_digit_accuracy"]


def run_of(grid, storage, *more):
    return ["run", "--grid", grid, "--storage", storage, *more]


def trials_of(folder):
    return pd.read_parquet(folder / "own" / "trials").sort_values("trial_id").reset_index(drop=True)


def test_the_rows_do_not_depend_on_the_packing(tmp_path, cluster):
    factors = {
        "sharing": {"role": "scientific", "values": [False, True]},
        "dropout": {"role": "scientific", "values": [0, 0.5]},
        "aux_weight": {"role": "tuned", "values": [0, 10]},
    }
    grid = write_grid(tmp_path, factors, max_epochs=3)
    tables = {}
    for cells in (1, 4):
        storage = tmp_path / str(cells)
        run = study(*run_of(grid, storage, "--cells-per-trial", cells), address=cluster.address)
        assert (run.returncode, run.stderr) == (0, "")
        assert "8 of 8 cells done" in run.stdout
        tables[cells] = trials_of(storage)
        # The cells of a pack begin together, and each is stored by itself.
        assert tables[cells]["started_at"].nunique() == 8 // cells
        assert len(list((storage / "own" / "trials").glob("*.parquet"))) == 8
    again = study(*run_of(grid, tmp_path / "1", "--cells-per-trial", 4), address=cluster.address)
    assert (again.returncode, "nothing to train" in again.stdout) == (0, True)
    assert_rows_are_as_trained_directly(
        tables[1], pd.read_parquet(tmp_path / "1" / "own" / "epochs"), load_grid(grid).cells(), range(2)
    )
    pd.testing.assert_frame_equal(tables[4][SAME], tables[1][SAME])
    # Sums are in another order: a pair or two on the boundary between two answers, of 200 and 1,000.
    for name in ACCURACIES:
        assert tables[4][name].to_numpy() == pytest.approx(tables[1][name].to_numpy(), abs=0.0101)


def test_a_cell_that_fails_leaves_its_pack_and_the_rest_goes_on(tmp_path, cluster):
    grid = write_grid(tmp_path, {"learning_rate": {"role": "tuned", "values": [1e-3, 1e30, 1e-2]}}, max_epochs=3)
    run = study(*run_of(grid, tmp_path, "--cells-per-trial", 3), address=cluster.address)
    assert run.returncode == 1
    trials = trials_of(tmp_path).set_index("learning_rate")
    assert trials.loc[1e30, "status"].tolist() == ["failed"] * 2
    assert trials.loc[1e30, "error"].str.startswith("the validation loss is nan after epoch 1").all()
    for rate in (1e-3, 1e-2):
        assert trials.loc[rate, ["status", "epochs"]].to_numpy().tolist() == [["completed", 3]] * 2


PRUNING = {
    "factors": {"learning_rate": {"role": "tuned", "values": [1e-2, 1e-9, 1e-3]}},
    "max_epochs": 12,
    "stopping": {"scheduler": "asha", "grace_period": 8, "reduction_factor": 3},
}


def test_a_cell_pruned_inside_a_pack_is_stored_at_once_and_left_alone_after(tmp_path, cluster):
    # In one pack, cells reach the rung in the grid's order, as they do alone where one trains at a time.
    grid = write_grid(tmp_path, **PRUNING)
    command = run_of(grid, tmp_path, "--cells-per-trial", 3)
    run = study(*command, address=cluster.address)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    pruned = next(number for number, line in enumerate(lines) if "learning_rate 1e-09: pruned at epoch 8" in line)
    finished = next(number for number, line in enumerate(lines) if "learning_rate 0.01: finished at epoch 12" in line)
    assert pruned < finished
    trials = trials_of(tmp_path).set_index("learning_rate")
    assert trials.loc[1e-9, ["status", "epochs"]].to_numpy().tolist() == [["pruned", 8]] * 2
    assert trials.loc[1e-2, "status"].tolist() == ["completed"] * 2
    assert trials["started_at"].nunique() == 1
    again = study(*command, address=cluster.address)
    assert (again.returncode, "nothing to train" in again.stdout) == (0, True)
    unpruned = study(*command, "--scheduler", "none", address=cluster.address)
    assert unpruned.returncode == 0, unpruned.stderr
    assert trials_of(tmp_path)["status"].isin(["completed", "converged"]).tolist() == [True] * 6


def test_a_pack_whose_worker_is_killed_goes_on_with_the_same_bits(tmp_path, cluster, start):
    grid = write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": [1, 10, 100]}}, max_epochs=24)
    process = start(*run_of(grid, tmp_path, "--cells-per-trial", "3", "--retries", "1"), address=cluster.address)
    kill_a_worker_in_training(raylet_of(cluster), [])
    text = process.communicate(timeout=240)[0]
    assert process.returncode == 0, text
    assert "aux_weight 1 and 2 cells with it: ActorDiedError" in text
    cells = load_grid(grid).cells()
    training = start_training(dict.fromkeys(cells, (0, 1)), load_pool(cells[0].data))
    expected = {(r.cell_id, r.seed, r.epoch): r.figure("val_loss") for records in training for r in records}
    epochs = pd.read_parquet(tmp_path / "own" / "epochs")
    found = epochs.set_index(["cell_id", "seed", "epoch"])["val_loss"]
    assert found.to_dict() == expected
