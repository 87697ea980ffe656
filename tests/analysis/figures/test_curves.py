import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.figures.curves import curves_data, draw_curves
from analysis.load import StudyData
from analysis.stored import FIRST_METRICS
from tests.analysis.conftest import StoreBuilder


def with_curves(data: StudyData, curves: dict[tuple[str, int], list[float]]) -> StudyData:
    rows = [
        {"cell_id": cell_id, "seed": seed, "epoch": epoch, "val_accuracy": value}
        for (cell_id, seed), values in curves.items()
        for epoch, value in enumerate(values, start=1)
    ]
    return dataclasses.replace(data, epochs=pd.DataFrame(rows))


@pytest.fixture
def data(store: StoreBuilder) -> StudyData:
    ten = store.cell([0.9, 0.9, 0.9], sharing=True, aux_weight=10)
    zero = store.plan(sharing=True)
    store.part(zero, [0.5] * 3, status="pruned", epochs=2)
    store.cell([0.9, 0.9, 0.9])
    curves = {(ten, 0): [0.5, 0.6, 0.8], (ten, 1): [0.5, 0.7], (ten, 2): [0.5, 0.5, 0.9]}
    curves |= {(zero, seed): [0.4, 0.45] for seed in range(3)} | {("cell02", seed): [0.6] for seed in range(3)}
    return with_curves(store.load(), curves)


def test_a_stratum_has_its_cells_by_rising_weight(data: StudyData) -> None:
    off, on = sorted(curves_data(data), key=lambda info: len(info.curves))
    assert (off.title, off.n, len(off.curves)) == ("sharing off, dropout 0", 3, 1)
    assert on.title == "sharing on, dropout 0"
    assert [(curve.label, curve.pruned) for curve in on.curves] == [("aux weight 0", True), ("aux weight 10", False)]


def test_an_ended_seed_keeps_its_last_value(data: StudyData) -> None:
    on = max(curves_data(data), key=lambda info: len(info.curves))
    curve = on.curves[1]
    assert curve.epochs == (1, 2, 3)
    assert curve.mean == pytest.approx((50, 60, (80 + 70 + 90) / 3))
    assert curve.low == pytest.approx((50, 55, 75))
    assert curve.high == pytest.approx((50, 65, 85))
    assert on.curves[0].epochs == (1, 2)


def test_a_pruned_cell_ends_in_a_cross(data: StudyData) -> None:
    ax = Figure().add_subplot()
    draw_curves(FIRST_METRICS[0], max(curves_data(data), key=lambda info: len(info.curves)), ax)
    lines = {str(line.get_label()): line for line in ax.lines}
    assert lines["aux weight 0, pruned"].get_xdata().tolist() == [1, 2]
    (cross,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == pytest.approx((2, 45))
    assert lines["aux weight 0, pruned"].get_linestyle() != lines["aux weight 10"].get_linestyle()
    assert ax.get_title().endswith("n = 3")


def test_all_strata_have_the_same_axis_within_a_hundred_percent(data: StudyData) -> None:
    infos = curves_data(data)
    # The lowest first decile of a curve: 40 to 45 over two epochs; the highest end is 80.
    assert len(infos) == 2
    assert [(info.bottom, info.top) for info in infos] == [(pytest.approx(40.5 - 3), pytest.approx(80 + 3))] * 2
    epochs = data.epochs.assign(val_accuracy=np.minimum(1, data.epochs["val_accuracy"] * 1.5))
    ax = Figure().add_subplot()
    draw_curves(FIRST_METRICS[0], curves_data(dataclasses.replace(data, epochs=epochs))[0], ax)
    assert ax.get_ylim()[1] == 100.5


def test_an_axes_for_one_cell_needs_no_legend(data: StudyData) -> None:
    info = max(curves_data(data), key=lambda info: len(info.curves))
    legends = []
    for label, pruned in (("the cell", False), ("the cell", True), ("aux weight 10", False)):
        curve = dataclasses.replace(info.curves[1], label=label, pruned=pruned)
        ax = Figure().add_subplot()
        draw_curves(FIRST_METRICS[0], dataclasses.replace(info, curves=(curve,)), ax)
        legends.append(ax.get_legend() is not None)
    assert legends == [False, True, True]


def test_a_study_without_curves_has_no_figure(store: StoreBuilder) -> None:
    store.cell([0.9] * 3)
    assert curves_data(store.load()) == ()


def test_a_seed_without_a_value_in_an_epoch_is_bridged(data: StudyData) -> None:
    epochs = data.epochs.copy()
    epochs.loc[(epochs["cell_id"] == "cell00") & (epochs["seed"] == 1) & (epochs["epoch"] == 2), "val_accuracy"] = (
        np.nan
    )
    on = max(curves_data(dataclasses.replace(data, epochs=epochs)), key=lambda info: len(info.curves))
    assert on.curves[1].mean == pytest.approx((50, (60 + 50 + 50) / 3, (80 + 50 + 90) / 3))
