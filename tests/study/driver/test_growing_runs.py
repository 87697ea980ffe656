"""Real studies that grow, each step under the old name: what is there is never trained again, and stays as it is."""

import pandas as pd
import pytest

from analysis.load import load_study
from analysis.statistics.cells import summarise_cells
from analysis.statistics.effects import main_effects_data
from study.grid.load import load_grid
from tests.study.driver.test_runs import assert_store_is_as_trained_directly, study, write_grid

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
PROTOCOL = {"max_epochs": 2, "train_pairs": 400, "test_pairs": 200}


def tuned(*weights):
    return {"aux_weight": {"role": "tuned", "values": list(weights)}}


def test_seeds_weights_and_a_factor_join_and_nothing_is_trained_twice(tmp_path, cluster):
    parts = {}

    def grow(factors, trials, protocol, seeds=3):
        """Run the grid; ``trials`` is how many it has to train, and not one more."""
        grid = write_grid(tmp_path, factors, 2, protocol=protocol)
        run = study("run", "--grid", grid, "--storage", tmp_path, "--seeds", seeds, address=cluster.address)
        assert run.returncode == 0, run.stderr
        assert (f"; {trials} trials of " if trials else "nothing to train") in run.stdout
        now = {path: path.read_bytes() for path in (tmp_path / "own").rglob("*.parquet")}
        assert parts.items() <= now.items()
        new = [pd.read_parquet(path) for path in now.keys() - parts.keys() if path.parent.name == "trials"]
        assert sum(map(len, new)) == trials
        parts.update(now)
        return load_grid(grid).cells()

    before = PROTOCOL | {"batch_size": 200}
    grow(tuned(0, 10), 4, before, seeds=2)
    grow(tuned(0, 1, 10), 5, before)  # a third seed of two cells, and three of a new one
    batches = {"batch_size": {"role": "scientific", "values": [100, 200]}}
    cells = grow(tuned(0, 1, 10) | batches, 9, PROTOCOL)
    grow(tuned(0, 10), 0, before)

    assert_store_is_as_trained_directly(tmp_path / "own", cells, range(3))
    data = load_study(str(tmp_path), "own")
    assert data.trials["batch_size"].isna().sum() == 9  # what the rows of before do not say, study.json does
    assert set(data.trials["batch_size"].dropna()) == {100}
    summary = summarise_cells(data)
    assert summary["state"].tolist() == ["complete"] * 6
    old = summary[summary["batch_size"] == 200]
    assert old["aux_weight"].tolist() == [0, 1, 10]  # sorted, whichever joined first
    accuracy = (
        data.trials.drop(columns="batch_size")
        .merge(summary[["cell_id", "batch_size"]])
        .groupby(["seed", "batch_size"])["test_accuracy"]
    )
    gains = accuracy.mean().unstack()
    (effect,) = [effect for effect in main_effects_data(data) if effect.factor == "batch_size"]
    assert (effect.value, effect.baseline, effect.pairs, effect.estimate.n) == (200, 100, 3, 3)
    assert effect.estimate.mean == pytest.approx((gains[200] - gains[100]).mean())
