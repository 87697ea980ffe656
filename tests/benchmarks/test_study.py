"""The two ways that benchmarks/study.py times do the same work, and the wall time is divided without remainder."""

import pandas as pd
import pytest

from benchmarks.study import run_study, run_tutorial, spent

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages")]


def test_both_ways_train_the_same_trials_for_the_same_epochs(tmp_path):
    run_study(tmp_path, epochs=2, seeds=1)
    run_tutorial(tmp_path, epochs=2, seeds=1)
    ours, theirs = pd.read_parquet(tmp_path / "bench" / "trials"), pd.read_csv(tmp_path / "results.csv")
    trials = [(weight, dropout, 0) for weight in (0, 10) for dropout in (0, 0.5)]
    assert sorted(ours[["aux_weight", "dropout", "seed"]].itertuples(index=False, name=None)) == trials
    names = ["config/aux_weight", "config/dropout", "config/seed"]
    assert sorted(theirs[names].itertuples(index=False, name=None)) == trials
    assert set(ours["epochs"]) == set(theirs["training_iteration"]) == {2}
    # Both have 1,000 test pairs: accuracies are whole thousandths, and better than none.
    for accuracy in (ours["test_accuracy"], theirs["test_accuracy"]):
        assert (accuracy * 1000).to_numpy() == pytest.approx((accuracy * 1000).round().to_numpy(), abs=1e-6)
        assert accuracy.between(0.3, 1).all()


def test_wall_time_is_divided_by_what_the_rows_say():
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta([0, 3, 13, 14, 20, 22], unit="s")
    # Two cores: cell a from 3 to 13 s, then c from 13 to 20, and b from 3 to 14; the run lasts from 0 to 22.
    rows = [("a", at[1], at[2], 4.0), ("a", at[1], at[2], 5.0), ("b", at[1], at[3], 10.0), ("c", at[2], at[4], 6.0)]
    trials = pd.DataFrame(rows, columns=["cell_id", "started_at", "finished_at", "train_time_s"])
    assert spent(trials, at[0], at[5]) == {
        "training and evaluation": 12.5,
        "start of Python, Ray and the store": 3,
        "actors, reports, checkpoints, rows": 1.5,
        "cores without a cell, most of it at the end": 3,
        "shutdown": 2,
    }
