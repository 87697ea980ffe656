"""Figures 2 and 3 of the course report: test accuracy against the auxiliary weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from analysis.course_report.reported import AUX_WEIGHT_CURVES, ROUNDS
from analysis.figures.style import BLACK, GREY, GRID, LEGEND_BELOW, LEGEND_TEXT, LIGHT_GREY, STYLES
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.statistics.cells import describe_settings, summarise_cells

# By sharing: the figure's number in the report, and what its cells have in common.
FIGURES = {False: (2, "without weight sharing"), True: (3, "with weight sharing")}
SERIES = 2 * len(STYLES)  # more cannot be told apart
MARK_HEIGHT = 0.045  # of a row of marks, as a fraction of the axes
# A cell without an estimate, by its state: its mark at the bottom, its word in the legend.
ABSENT = {
    "pruned": ("x", "pruned"),
    "failed": ("*", "failed"),
    "short": ("d", "short of seeds"),
    "missing": ("_", "not run"),
}


@dataclass(frozen=True)
class Point:
    """A cell: its state, and mean and standard deviation of test accuracy in percent over n seeds.

    Both are NaN unless the cell is complete; the standard deviation is NaN for one seed too.
    """

    aux_weight: float
    state: str
    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class Series:
    """Cells that differ in auxiliary weight only, by rising weight; ``label`` names the rest."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class AuxWeightFigure:
    """Accuracies in percent by auxiliary weight; ``reported`` has ``(weight, accuracy)``.

    ``series`` are at most the SERIES whose best cells have the highest mean validation accuracies;
    ``left_out`` counts the others.
    """

    sharing: bool
    series: tuple[Series, ...]
    left_out: int
    reported: tuple[tuple[float, float], ...]

    @property
    def points(self) -> list[Point]:
        """The points of all series."""
        return [point for series in self.series for point in series.points]

    @property
    def states(self) -> set[str]:
        """The states of all cells."""
        return {point.state for point in self.points}


def aux_weight_data(data: StudyData, sharing: bool) -> AuxWeightFigure:
    """Return one series per combination of all factors except the auxiliary weight."""
    cells = summarise_cells(data)
    cells = cells[(cells["model"] == "comparator") & (cells["sharing"] == sharing)].sort_values("aux_weight")
    others = [name for name in data.info.roles if name not in ("model", "sharing", "aux_weight")]
    names = list(dict.fromkeys(["dropout", "learning_rate", *others]))
    best = cells.groupby(names)["val_accuracy_mean"].max().sort_values(ascending=False, kind="stable")
    series = []
    for settings, group in cells.groupby(names):
        if settings in best.index[:SERIES]:
            rows = group.to_dict("records")
            series.append(Series(describe_settings(rows[0], names), tuple(map(_point, rows))))
    reported = tuple((weight, 100 * accuracy) for weight, accuracy in AUX_WEIGHT_CURVES[sharing].items())
    return AuxWeightFigure(sharing, tuple(series), len(best) - len(series), reported)


def _point(cell: Mapping[Any, Any]) -> Point:
    mean = 100 * cell["test_accuracy_mean"]
    std = 100 * cell["test_accuracy_std"]
    return Point(cell["aux_weight"], cell["state"], mean, std, cell["n"])


def aux_weight_picture(data: StudyData, sharing: bool) -> Picture:
    """Return the picture of figure 2 or 3."""
    info = aux_weight_data(data, sharing)
    number, subject = FIGURES[sharing]
    caption = f"Figure {number}. Mean ± standard deviation over the seeds of a cell."
    # A figure that leaves something out says so.
    if info.left_out:
        best = "the best cells by mean validation accuracy"
        caption += f" The {SERIES} series with {best} are shown; {info.left_out} are left out."
    alt = f"Test accuracy against the auxiliary weight, {subject}"
    return make_picture(f"figure{number}", alt, caption, Panels([info], draw_aux_weight, (6.4, 4.6)))


def draw_aux_weight(info: AuxWeightFigure, ax: Axes) -> None:
    """Draw mean ± standard deviation, and marks for cells without an estimate."""
    weights, accuracies = zip(*info.reported, strict=True)
    label = f"report, dropout 0, read off by eye (n = {ROUNDS})"
    ax.plot(weights, accuracies, "o", color=GREY, markersize=9, markerfacecolor="none", label=label)
    for index, series in enumerate(info.series):
        _draw_series(series, index, len(info.series), ax)
    _set_weight_axis(info, ax)
    _set_accuracy_axis(info, ax)
    number, subject = FIGURES[info.sharing]
    ax.set_title(f"Figure {number}: {subject}")
    _add_legend(info, ax)


def _draw_series(series: Series, index: int, count: int, ax: Axes) -> None:
    """Draw one of ``count`` series, a little beside the others so that no spread hides another."""
    style = STYLES[index % len(STYLES)]
    aside = ScaledTranslation((index - (count - 1) / 2) * 3 / 72, 0, ax.figure.dpi_scale_trans)
    seeds = next((f"n = {point.n}" for point in series.points if point.state == "complete"), "no complete cell")
    # If a cell has no estimate, its NaN breaks the line.
    weights, means, stds = np.transpose([(point.aux_weight, point.mean, point.std) for point in series.points])
    look = {"color": style.colour, "marker": style.marker, "linestyle": style.line, "markersize": 5}
    look |= {"linewidth": 1.3, "elinewidth": 1, "capsize": 3, "label": f"{series.label} ({seeds})"}
    ax.errorbar(weights, means, stds, **look, transform=ax.transData + aside)
    height = MARK_HEIGHT * (index + 0.6)
    beside = ax.get_xaxis_transform() + aside
    for point in series.points:
        if point.state in ABSENT:
            marker, _ = ABSENT[point.state]
            ax.plot(point.aux_weight, height, marker, color=style.colour, transform=beside)


def _set_weight_axis(info: AuxWeightFigure, ax: Axes) -> None:
    """Make the axis linear from 0 to the smallest positive weight, and logarithmic beyond."""
    reported = [weight for weight, _ in info.reported]
    low = min(filter(None, reported))  # without weight 0
    # There is room for the report's weights, and for those of the study beyond them.
    beyond = [
        point.aux_weight for point in info.points if 0 < point.aux_weight < low or point.aux_weight > max(reported)
    ]
    ticks = sorted({*reported, *beyond})
    smallest = min(filter(None, ticks))
    ax.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    ax.set_xticks(ticks, list(map("{:g}".format, ticks)))
    ax.set_xticks([], minor=True)
    ax.set_xlim(-0.3 * smallest, 1.6 * ticks[-1])
    ax.set_xlabel("auxiliary weight (symlog)")
    ax.grid(axis="y", **GRID)


def _set_accuracy_axis(info: AuxWeightFigure, ax: Axes) -> None:
    """Leave a shaded band below all accuracies, so that no mark is read as one."""
    values = [accuracy for _, accuracy in info.reported]
    for point in info.points:
        values += [point.mean, point.mean - point.std, point.mean + point.std]
    # What has no estimate is NaN.
    low, high = np.nanmin(values), np.nanmax(values)
    marked = not info.states.isdisjoint(ABSENT)
    above = 0.06
    below = above + MARK_HEIGHT * len(info.series) * marked
    scale = (high - low) / (1 - below - above)
    bottom = low - below * scale
    ax.set_ylim(bottom, high + above * scale)
    if marked:
        top = bottom + MARK_HEIGHT * (len(info.series) + 0.2) * scale
        # This zorder is above the grid and below the lines.
        ax.axhspan(bottom, top, color=LIGHT_GREY, linewidth=0, zorder=1.6)
    ax.set_ylabel("test accuracy, %")


def _add_legend(info: AuxWeightFigure, ax: Axes) -> None:
    """Put the legend below the axes, with a black mark for each kind of absence that occurs."""
    handles, _ = ax.get_legend_handles_labels()
    for state, (marker, word) in ABSENT.items():
        if state in info.states:
            label = f"{word}: no estimate"
            handles.append(Line2D([], [], linestyle="none", marker=marker, color=BLACK, label=label))
    ax.legend(handles=handles, **LEGEND_BELOW, **LEGEND_TEXT)
