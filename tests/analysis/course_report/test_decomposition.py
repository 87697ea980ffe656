from typing import Any

import numpy as np
import pytest

from analysis.course_report.decomposition import decomposition_sheet, decompositions_data, step_data
from tests.analysis.conftest import StoreBuilder

OFFSETS = np.array([-0.01, 0.0, 0.01])


def cross(store: StoreBuilder, weight: float, accuracies: list[float], **settings: Any) -> None:
    """Cells for (dropout off, low rate), (off, high), (on, low), (on, high); the seeds differ by OFFSETS."""
    for index, accuracy in enumerate(accuracies):
        where = {"dropout": 0.5 * (index // 2), "learning_rate": (0.001, 0.01)[index % 2]}
        store.cell(
            [float(accuracy + offset) for offset in OFFSETS], aux_weight=weight, sharing=True, **where, **settings
        )


def test_the_parts_add_up(store: StoreBuilder) -> None:
    cross(store, 1, [0.80, 0.83, 0.81, 0.85])
    (row,) = decompositions_data(store.load())
    assert (row.sharing, row.aux_weight) == (True, 1.0)
    assert row.parts["rate"].mean == pytest.approx(0.03)
    assert row.parts["dropout"].mean == pytest.approx(0.01)
    assert row.parts["both"].mean == pytest.approx(0.05)
    assert row.parts["interaction"].mean == pytest.approx(0.01)
    assert row.parts["both"].n == 3
    assert row.parts["both"].std == pytest.approx(0)  # paired: the seeds' offsets cancel


def test_seeds_are_paired(store: StoreBuilder) -> None:
    cross(store, 1, [0.80, 0.83, 0.81])
    store.cell([0.86, 0.85, 0.84], aux_weight=1, sharing=True, dropout=0.5, learning_rate=0.01)
    (row,) = decompositions_data(store.load())
    assert (row.parts["both"].mean, row.parts["both"].std) == pytest.approx((0.05, 0.02))  # 0.07, 0.05, 0.03


def test_what_is_not_crossed_is_left_out(store: StoreBuilder) -> None:
    cross(store, 1, [0.80, 0.83, 0.81])
    cross(store, 10, [0.80, 0.83, 0.81, 0.85], model="classifier")
    store.cell([0.8] * 3, learning_rate=0.01)
    assert decompositions_data(store.load()) == []
    assert step_data(store.load()) is None


def test_a_pruned_cell_leaves_no_crossing(store: StoreBuilder) -> None:
    cross(store, 1, [0.80, 0.83, 0.81])
    pruned = store.plan(aux_weight=1, sharing=True, dropout=0.5, learning_rate=0.01)
    store.part(pruned, [0.5] * 3, status="pruned")
    assert decompositions_data(store.load()) == []


def test_the_reports_step_has_the_weight_too(store: StoreBuilder) -> None:
    cross(store, 10, [0.86, 0.88, 0.85, 0.87])
    cross(store, 1, [0.85, 0.88, 0.86, 0.91])
    step = step_data(store.load())
    assert step is not None
    means = [step.parts[part].mean for part in ("weight", "rate", "dropout", "interaction", "both")]
    assert means == pytest.approx([-0.01, 0.03, 0.01, 0.02, 0.05])
    assert sum(means[:4]) == pytest.approx(means[4])


def test_the_sheet_shows_points_with_intervals(store: StoreBuilder) -> None:
    cross(store, 10, [0.86, 0.88, 0.85, 0.87])
    cross(store, 1, [0.85, 0.88, 0.86, 0.91])
    data = store.load()
    step = step_data(data)
    assert step is not None
    sheet = decomposition_sheet("abc", [*decompositions_data(data), step])
    assert [column.heading for column in sheet.columns] == [
        "sharing",
        "weight",
        "weight 10 to 1",
        "learning rate alone",
        "dropout alone",
        "interaction",
        "total",
        "n",
    ]
    assert [row[:4] for row in sheet.texts] == [
        ["on", "1", "–", "+3.0 (–)"],
        ["on", "10", "–", "+2.0 (–)"],
        ["on", "10 to 1", "-1.0 (–)", "+3.0 (–)"],
    ]
    assert sheet.caption.endswith("Study abc.")
