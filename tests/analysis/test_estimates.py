import math

import pandas as pd
import pytest

from analysis.estimates import describe_state, summarise_cells
from analysis.load import load_study

ESTIMATES = [
    f"{name}_{what}"
    for name in ("val_accuracy", "test_accuracy", "test_digit_accuracy", "best_test_accuracy")
    for what in ("mean", "std")
]


def summary(make_study, cell, seeds=3):
    cells = summarise_cells(load_study(*make_study([cell, {"sharing": True, "test": [0.5]}], seeds=seeds)))
    return cells.iloc[0]


def test_mean_and_unbiased_deviation_over_seeds(make_study):
    row = summary(make_study, {"test": [0.80, 0.84, 0.88], "val": [0.7, 0.7, 0.7]})
    assert (row["state"], row["n"], row["n_planned"], row["n_failed"]) == ("complete", 3, 3, 0)
    assert row["test_accuracy_mean"] == pytest.approx(0.84)
    # sqrt((0.04^2 + 0 + 0.04^2) / (3 - 1)) = 0.04
    assert row["test_accuracy_std"] == pytest.approx(0.04)
    assert row["best_test_accuracy_std"] == pytest.approx(0.04)
    assert (row["val_accuracy_mean"], row["val_accuracy_std"]) == (pytest.approx(0.7), pytest.approx(0))
    assert row["test_digit_accuracy_mean"] == pytest.approx(0.95)
    assert row["pruned_epoch"] is pd.NA


def test_converged_seeds_are_finished(make_study):
    row = summary(make_study, {"test": [0.8, 0.9, 1.0], "status": ["completed", "converged", "converged"]})
    assert (row["state"], row["n"]) == ("complete", 3)
    assert row["test_accuracy_mean"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("cell", "state", "n", "n_failed", "words"),
    [
        ({"test": [0.8] * 3, "status": "pruned", "epochs": 20}, "pruned", 0, 0, "pruned at epoch 20"),
        (
            {"test": [0.8] * 3, "status": ["converged", "pruned", "pruned"], "epochs": 7},
            "pruned",
            1,
            0,
            "pruned at epoch 7",
        ),
        (
            {"test": [0.8] * 3, "status": ["completed", "failed", "failed"]},
            "failed",
            1,
            2,
            "2 of 3 seeds failed",
        ),
        ({"test": [0.8] * 2}, "short", 2, 0, "2 of 3 seeds"),
        ({}, "missing", 0, 0, "not trained"),
    ],
)
def test_an_unfinished_cell_has_a_state_and_no_estimate(make_study, cell, state, n, n_failed, words):
    row = summary(make_study, cell)
    assert (row["state"], row["n"], row["n_failed"]) == (state, n, n_failed)
    assert row[ESTIMATES].isna().all()
    assert describe_state(row) == words


def test_seeds_beyond_those_planned_count(make_study):
    row = summary(make_study, {"test": [0.8, 0.9, 0.8, 0.9]})
    assert (row["state"], row["n"], describe_state(row)) == ("complete", 4, "4 seeds")
    assert row["test_accuracy_mean"] == pytest.approx(0.85)


def test_a_failed_seed_beyond_enough_finished_ones_does_no_harm(make_study):
    row = summary(make_study, {"test": [0.8, 0.9, 0.7, 0.1], "status": ["completed"] * 3 + ["failed"]})
    assert (row["state"], row["n"], row["n_failed"]) == ("complete", 3, 1)
    assert row["test_accuracy_mean"] == pytest.approx(0.8)


def test_one_seed_has_a_mean_and_no_deviation(make_study):
    row = summary(make_study, {"test": [0.8]}, seeds=1)
    assert (row["state"], row["test_accuracy_mean"]) == ("complete", 0.8)
    assert math.isnan(row["test_accuracy_std"])


def test_a_finished_trial_without_a_value_is_not_averaged_away(make_study):
    row = summary(make_study, {"test": [0.8, math.nan, 0.9]})
    assert row["state"] == "complete"
    assert math.isnan(row["test_accuracy_mean"])
    assert math.isnan(row["test_accuracy_std"])


def test_a_failed_try_that_was_repeated_is_complete(make_study):
    storage, name = make_study([{"test": [0.8, 0.9], "status": "failed"}])
    make_study.add_part(name, "again.parquet", test=[0.8, 0.9])
    row = summarise_cells(load_study(storage, name)).iloc[0]
    assert (row["state"], row["n"], row["n_failed"]) == ("complete", 2, 0)


def test_rows_follow_study_json_and_carry_its_factors(make_study):
    roles = {"sharing": "scientific", "width": "scientific"}
    cells = [
        {"aux_weight": 10.0, "test": [0.8, 0.9], "further": {"width": 64}},
        {"aux_weight": 1.0, "sharing": True, "further": {"width": 16}},
        {"aux_weight": 0.1, "test": [0.7, 0.7], "further": {"width": 32}},
    ]
    table = summarise_cells(load_study(*make_study(cells, roles=roles)))
    assert list(table["aux_weight"]) == [10.0, 1.0, 0.1]
    assert list(table["width"]) == [64, 16, 32]
    assert list(table["state"]) == ["complete", "missing", "complete"]
    assert list(table["sharing"]) == [False, True, False]
    assert table["pruned_epoch"].dtype == "Int64"
    assert [name for name in table if name.endswith(("_mean", "_std"))] == ESTIMATES
