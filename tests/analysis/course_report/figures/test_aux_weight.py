import itertools
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.course_report.figures.aux_weight import AuxWeightFigure, aux_weight_data, draw_aux_weight
from tests.analysis.conftest import StoreBuilder


def drawn(info: AuxWeightFigure) -> Axes:
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    draw_aux_weight(info, ax)
    FigureCanvasAgg(figure).draw()
    return ax


def legend_texts(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def tick_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


@pytest.fixture
def info(store: StoreBuilder) -> AuxWeightFigure:
    store.cell([0.86, 0.88, 0.90], [0.5, 0.6, 0.7], aux_weight=10)
    store.cell([0.80, 0.82, 0.84])
    store.cell([0.10, 0.10, 0.10], aux_weight=1, status="pruned")
    store.cell([0.20, 0.20], aux_weight=100)
    store.cell([0.90, 0.92, 0.94], aux_weight=10, dropout=0.5, learning_rate=0.01)
    store.cell([0.50, 0.50, 0.50], aux_weight=10, sharing=True)
    store.cell([0.99, 0.99, 0.99], aux_weight=10, model="classifier")
    return aux_weight_data(store.load(), sharing=False)


def test_a_series_for_each_dropout_by_rising_weight(info: AuxWeightFigure) -> None:
    assert [series.label for series in info.series] == [
        "dropout 0, learning rate 0.001",
        "dropout 0.5, learning rate 0.01",
    ]
    plain, dropout = info.series
    assert [point.aux_weight for point in plain.points] == [0, 1, 10, 100]
    assert [point.state for point in plain.points] == ["complete", "pruned", "complete", "short"]
    assert [point.mean for point in plain.points] == pytest.approx([82, math.nan, 88, math.nan], nan_ok=True)
    assert [point.std for point in plain.points] == pytest.approx([2, math.nan, 2, math.nan], nan_ok=True)
    assert [(point.aux_weight, point.n, point.mean) for point in dropout.points] == [(10, 3, pytest.approx(92))]


def test_the_reports_points_are_of_the_same_sharing(store: StoreBuilder, info: AuxWeightFigure) -> None:
    assert dict(info.reported)[10] == pytest.approx(84.7)
    assert dict(aux_weight_data(store.load(), sharing=True).reported)[10] == pytest.approx(86.2)


def test_estimates_are_drawn_at_their_weights_and_nothing_for_absent_cells(info: AuxWeightFigure) -> None:
    ax = drawn(info)
    plain = ax.containers[0].lines[0]
    assert plain.get_xdata().tolist() == [0, 1, 10, 100]
    np.testing.assert_allclose(np.asarray(plain.get_ydata(), float), [82, np.nan, 88, np.nan])
    low, high = ax.get_ylim()
    assert 75 < low < 80
    assert 94 < high < 96  # all of 92 ± 2 is inside
    left, right = ax.get_xlim()
    assert left < 0
    assert right > 1000


def test_absent_cells_are_marked_along_the_bottom_and_in_the_legend(info: AuxWeightFigure) -> None:
    ax = drawn(info)
    marks = {line.get_marker(): line for line in ax.lines if line.get_marker() in ("x", "d")}
    assert {marker: line.get_xdata()[0] for marker, line in marks.items()} == {"x": 1, "d": 100}
    (band,) = (patch for patch in ax.patches if isinstance(patch, Rectangle))
    bottom, top = band.get_y(), band.get_y() + band.get_height()
    for line in marks.values():
        _, height = ax.transData.inverted().transform(ax.transAxes.transform((0, line.get_ydata()[0])))
        assert bottom < height < top < 80  # the lowest of 82 ± 2
    assert legend_texts(ax) == [
        "report, dropout 0, read off by eye (n = 10)",
        "dropout 0, learning rate 0.001 (n = 3)",
        "dropout 0.5, learning rate 0.01 (n = 3)",
        "pruned: no estimate",
        "short of seeds: no estimate",
    ]


def test_series_differ_in_colour_marker_and_line(info: AuxWeightFigure) -> None:
    lines = [container.lines[0] for container in drawn(info).containers]
    for look in ("get_color", "get_marker", "get_linestyle"):
        assert len({getattr(line, look)() for line in lines}) == 2


def test_series_stand_beside_each_other_at_the_same_weight(info: AuxWeightFigure) -> None:
    plain, dropout = (container.lines[0] for container in drawn(info).containers)
    right_of = dropout.get_transform().transform((10, 90)) - plain.get_transform().transform((10, 90))
    assert right_of.tolist() == pytest.approx([3 / 72 * 100, 0])  # 3 points at 100 dots an inch


def test_marks_of_absent_cells_stand_beside_each_other_too(store: StoreBuilder) -> None:
    store.cell([0.8] * 3, sharing=True)
    for dropout in (0.0, 0.5):
        store.cell([0.5] * 3, aux_weight=1, dropout=dropout, status="pruned")
    marks = [line for line in drawn(aux_weight_data(store.load(), sharing=False)).lines if line.get_marker() == "x"]
    plain, dropout_mark = (line.get_transform().transform(line.get_xydata()[0]) for line in marks)
    assert dropout_mark[0] - plain[0] == pytest.approx(3 / 72 * 100)
    assert dropout_mark[1] - plain[1] > 5


def test_the_reports_points_are_hollow_and_unjoined(info: AuxWeightFigure) -> None:
    (points,) = (line for line in drawn(info).lines if str(line.get_label()).startswith("report"))
    assert (points.get_markerfacecolor(), points.get_linestyle()) == ("none", "None")
    assert points.get_xydata().tolist() == [list(point) for point in info.reported]


def test_no_two_labels_of_weights_touch(info: AuxWeightFigure) -> None:
    boxes = [label.get_window_extent() for label in drawn(info).get_xticklabels()]
    assert all(left.x1 + 5 < right.x0 for left, right in itertools.pairwise(boxes))


def test_weights_are_labelled_in_plain_numbers(info: AuxWeightFigure) -> None:
    assert tick_labels(drawn(info)) == ["0", "0.1", "0.5", "1", "3", "10", "100", "1000"]


def test_weights_beyond_the_reports_are_labelled_and_seen(store: StoreBuilder) -> None:
    for weight in (0.01, 2, 20000):
        store.cell([0.8] * 3, aux_weight=weight)
    ax = drawn(aux_weight_data(store.load(), sharing=False))
    assert tick_labels(ax) == ["0", "0.01", "0.1", "0.5", "1", "3", "10", "100", "1000", "20000"]
    assert ax.get_xlim()[1] > 20000


@pytest.mark.parametrize("weight", [0, 10])
def test_a_single_weight_can_be_drawn(store: StoreBuilder, weight: float) -> None:
    store.cell([0.80, 0.82, 0.84], aux_weight=weight)
    ax = drawn(aux_weight_data(store.load(), sharing=False))
    assert ax.containers[0].lines[0].get_xdata().tolist() == [weight]
    assert not ax.patches  # no band where nothing is absent


def test_a_study_without_the_cells_shows_the_report_alone(store: StoreBuilder) -> None:
    store.cell([0.8] * 3)
    info = aux_weight_data(store.load(), sharing=True)
    assert info.series == ()
    assert len(legend_texts(drawn(info))) == 1


def test_a_series_without_a_complete_cell_and_one_of_one_seed(store: StoreBuilder) -> None:
    store.seeds = 1
    store.cell([0.8])
    store.plan(aux_weight=1)
    store.cell([None], status="failed", dropout=0.5)
    texts = legend_texts(drawn(aux_weight_data(store.load(), sharing=False)))
    assert "dropout 0, learning rate 0.001 (n = 1)" in texts
    assert "dropout 0.5, learning rate 0.001 (no complete cell)" in texts
    assert texts[-2:] == ["failed: no estimate", "not run: no estimate"]


def test_drawing_leaves_the_global_settings_alone(info: AuxWeightFigure) -> None:
    before = dict(matplotlib.rcParams)
    drawn(info)
    assert dict(matplotlib.rcParams) == before
