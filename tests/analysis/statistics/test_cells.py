import dataclasses
import math

import pytest

from analysis.statistics.cells import by_seed, cells_sheet, describe_settings, describe_state, summarise_cells
from tests.analysis.conftest import StoreBuilder


def test_means_and_unbiased_deviations_over_the_seeds(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87], [0.70, 0.70, 0.76], aux_weight=3, sharing=True)
    (row,) = summarise_cells(store.load()).to_dict("records")
    assert (row["cell_id"], row["aux_weight"], row["sharing"], row["max_epochs"]) == ("cell00", 3, True, 80)
    assert (row["state"], row["n"], row["n_planned"], row["n_failed"]) == ("complete", 3, 3, 0)
    assert describe_state(row) == "3 seeds"
    assert row["test_accuracy_mean"] == pytest.approx(0.83)
    assert row["test_accuracy_std"] == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    assert row["val_accuracy_mean"] == pytest.approx(0.72)
    assert row["val_accuracy_std"] == pytest.approx(math.sqrt((0.02**2 + 0.02**2 + 0.04**2) / 2))
    assert row["test_digit_accuracy_mean"] == pytest.approx(0.83)


def test_completed_and_converged_seeds_count_alike(store: StoreBuilder) -> None:
    cell = store.cell([0.8])
    store.part(cell, [0.9, 1.0], status="converged", first_seed=1)
    (row,) = summarise_cells(store.load()).to_dict("records")
    assert (row["state"], row["n"], row["test_accuracy_mean"]) == ("complete", 3, pytest.approx(0.9))


def test_a_cell_that_is_not_complete_has_a_state_and_no_mean(store: StoreBuilder) -> None:
    store.cell([0.9] * 3)
    store.part(store.plan(), [0.4] * 3, status="pruned", epochs=20)
    # A seed may have converged before its cell was pruned.
    partly = store.plan()
    store.part(partly, [0.4], status="converged", epochs=12)
    store.part(partly, [0.4] * 2, status="pruned", first_seed=1, epochs=20)
    store.cell([0.9] * 2)
    failed = store.cell([0.9])
    store.part(failed, [None] * 2, status="failed", first_seed=1)
    store.plan()
    cells = summarise_cells(store.load())
    assert cells["state"].tolist() == ["complete", "pruned", "pruned", "short", "failed", "missing"]
    assert cells["n"].tolist() == [3, 0, 1, 2, 1, 0]
    assert [describe_state(row) for row in cells.to_dict("records")] == [
        "3 seeds",
        "pruned at epoch 20",
        "pruned at epoch 20",
        "2 of 3 seeds",
        "failed: 2 of 3",
        "not run",
    ]
    assert cells["error"].tolist()[4] == "RuntimeError: worker lost"
    estimates = cells.filter(regex="_(mean|std)$").dropna(axis="columns", how="all")
    assert estimates.shape[1] == 2 * 6  # mean and std of the metrics that the trials have
    assert estimates.notna().all(axis=1).tolist() == [True] + [False] * 5
    assert estimates[1:].isna().all(axis=None)


def test_one_seed_has_a_mean_and_no_deviation(store: StoreBuilder) -> None:
    store.seeds = 1
    store.cell([0.8])
    (row,) = summarise_cells(store.load()).to_dict("records")
    assert row["test_accuracy_mean"] == 0.8
    assert math.isnan(row["test_accuracy_std"])


def test_a_finished_seed_without_an_accuracy_leaves_the_cell_short(store: StoreBuilder) -> None:
    store.cell([0.8, 0.9, None])
    (row,) = summarise_cells(store.load()).to_dict("records")
    assert (row["state"], row["n"]) == ("short", 2)
    assert math.isnan(row["test_accuracy_mean"])


def test_seeds_and_cells_outside_the_plan_do_not_count(store: StoreBuilder) -> None:
    store.cell([0.8, 0.8, 0.8, 0.0])
    store.part("stranger", [0.1] * 3)
    cells = summarise_cells(store.load())
    assert cells["cell_id"].tolist() == ["cell00"]
    assert cells["n"].tolist() == [3]
    assert cells["test_accuracy_mean"].tolist() == [pytest.approx(0.8)]


def test_settings_are_written_as_in_a_grid_file() -> None:
    cell = {"sharing": True, "aux_weight": 1000.0, "dropout": 0.5, "data": "mnist5k", "other": 1}
    assert (
        describe_settings(cell, ["sharing", "aux_weight", "dropout", "data"])
        == "sharing on, aux weight 1000, dropout 0.5, data mnist5k"
    )
    assert describe_settings({"sharing": False}, ["sharing"]) == "sharing off"


def test_by_seed_has_the_finished_trials_of_planned_cells_and_seeds(store: StoreBuilder) -> None:
    whole = store.cell([0.80, 0.82, 0.87, 0.99])  # of three planned seeds
    short = store.plan(aux_weight=1)
    store.part(short, [0.5], status="failed")
    store.part(short, [0.6], first_seed=1)
    pruned = store.plan(aux_weight=3)
    store.part(pruned, [0.5] * 3, status="pruned")
    store.cell([0.1] * 3, aux_weight=7)
    store.cells.pop()
    data = store.load()
    found = by_seed(data, "test_accuracy")
    assert found.index.tolist() == [whole, short, pruned]
    assert found.columns.tolist() == [0, 1, 2]
    assert found.loc[whole].tolist() == [0.80, 0.82, 0.87]
    assert found.loc[short].isna().tolist() == [True, False, True]
    assert found.loc[pruned].isna().all()
    assert by_seed(data, "of another time").isna().all(axis=None)


def test_a_store_without_the_later_columns_has_none_of_their_means(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    older = dataclasses.replace(data, trials=data.trials.drop(columns=["train_accuracy", "train_digit_accuracy"]))
    cells = summarise_cells(older)
    assert cells["test_accuracy_mean"].notna().all()
    assert cells[["train_accuracy_mean", "train_digit_accuracy_std"]].isna().all(axis=None)


def test_the_cells_sheet_has_every_planned_cell(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87], [0.7, 0.7, 0.7], sharing=True, aux_weight=3)
    store.part(store.plan(), [0.4] * 3, status="pruned", epochs=20)
    store.cell([None] * 3, status="failed", dropout=0.5)
    sheet = cells_sheet(store.load())
    assert [column.heading for column in sheet.columns[:4]] == ["sharing", "dropout", "aux weight", "seeds"]
    # t of 2 degrees of freedom is 4.303; 4.303 * 3.606 / sqrt(3) = 8.96
    assert sheet.texts == [
        ["off", "0", "0", "pruned at epoch 20", *["–"] * 6],
        ["off", "0.5", "0", "failed: 3 of 3", *["–"] * 6],
        ["on", "0", "3", "3 seeds", "83.0", "3.6", "74.0 to 92.0", "70.0", "83.0", "83.0"],
    ]
    pruned, failed, complete = sheet.rows
    assert complete["test_accuracy_mean"] == pytest.approx(0.83)
    assert (pruned["epochs"], pruned["test_accuracy_mean"], pruned["error"]) == (20, None, None)
    assert failed["error"] == "RuntimeError: worker lost"
