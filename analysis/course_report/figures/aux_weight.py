"""Figures 2 and 3 of the report: test accuracy against the auxiliary weight, without and with sharing."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from analysis.course_report.reported import AUX_WEIGHT_CURVES, ROUNDS
from analysis.figures.style import REPORTED_GREY, STYLES
from analysis.load import StudyData
from analysis.statistics.cells import describe_settings, summarise_cells

SERIES = 2 * len(STYLES)  # more cannot be told apart
MARK_HEIGHT = 0.045  # of the axes
BAND_GREY = "#EEEEEE"
# A cell without an estimate: its mark along the bottom and the legend's word.
ABSENT = {
    "pruned": ("x", "pruned"),
    "failed": ("*", "failed"),
    "short": ("d", "short of seeds"),
    "missing": ("_", "not run"),
}


@dataclass(frozen=True)
class Point:
    """A cell: its state, and over n seeds the mean and standard deviation of test accuracy in percent.

    Both are NaN unless the cell is complete; the standard deviation also for one seed.
    """

    aux_weight: float
    state: str
    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class Series:
    """The cells that differ in auxiliary weight alone, by rising weight; ``label`` names what they share."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class AuxWeightFigure:
    """Accuracies in percent by auxiliary weight; ``reported`` are the report's ``(weight, accuracy)``.

    ``left_out`` is how many series there are besides the SERIES with the best cells by mean validation accuracy.
    """

    sharing: bool
    series: tuple[Series, ...]
    left_out: int
    reported: tuple[tuple[float, float], ...]


def aux_weight_data(data: StudyData, sharing: bool) -> AuxWeightFigure:
    """Return a series for each dropout, and for each value of any other factor but the auxiliary weight.

    Of more than SERIES, they are those whose best cells have the highest mean validation accuracies.
    """
    cells = summarise_cells(data)
    cells = cells[(cells["model"] == "comparator") & (cells["sharing"] == sharing)].sort_values("aux_weight")
    others = [name for name in data.info.roles if name not in ("model", "sharing", "aux_weight")]
    names = list(dict.fromkeys(["dropout", "learning_rate", *others]))
    best = cells.groupby(names)["val_accuracy_mean"].max().sort_values(ascending=False, kind="stable")
    series = []
    for settings, group in cells.groupby(names):
        if settings not in best.index[:SERIES]:
            continue
        rows = group.to_dict("records")
        points = tuple(
            Point(
                row["aux_weight"],
                row["state"],
                100 * row["test_accuracy_mean"],
                100 * row["test_accuracy_std"],
                row["n"],
            )
            for row in rows
        )
        series.append(Series(describe_settings(rows[0], names), points))
    reported = tuple((weight, 100 * accuracy) for weight, accuracy in AUX_WEIGHT_CURVES[sharing].items())
    return AuxWeightFigure(sharing, tuple(series), len(best) - len(series), reported)


def draw_aux_weight(info: AuxWeightFigure, ax: Axes) -> None:
    """Draw the figure on empty axes: mean ± standard deviation, and marks along the bottom for what has none."""
    ax.plot(
        *zip(*info.reported, strict=True),
        linestyle="none",
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=REPORTED_GREY,
        label=f"report, dropout 0, read off by eye (n = {ROUNDS})",
    )
    for index, series in enumerate(info.series):
        _draw_series(series, index, len(info.series), ax)
    _set_weight_axis(info, ax)
    _set_accuracy_axis(info, ax)
    number, word = (3, "with") if info.sharing else (2, "without")
    ax.set_title(f"Figure {number}: {word} weight sharing")
    _add_legend(info, ax)


def _draw_series(series: Series, index: int, count: int, ax: Axes) -> None:
    """Draw one of ``count`` series, a little beside the others so that no spread hides another."""
    colour, marker, line = STYLES[index % len(STYLES)]
    aside = ScaledTranslation((index - (count - 1) / 2) * 3 / 72, 0, ax.figure.dpi_scale_trans)
    seeds = next((f"n = {point.n}" for point in series.points if point.state == "complete"), "no complete cell")
    # Where a cell has no estimate, its NaN breaks the line.
    ax.errorbar(
        [point.aux_weight for point in series.points],
        [point.mean for point in series.points],
        [point.std for point in series.points],
        color=colour,
        marker=marker,
        linestyle=line,
        markersize=5,
        linewidth=1.3,
        elinewidth=1,
        capsize=3,
        transform=ax.transData + aside,
        label=f"{series.label} ({seeds})",
    )
    for point in (point for point in series.points if point.state in ABSENT):
        ax.plot(
            point.aux_weight,
            MARK_HEIGHT * (index + 0.6),
            linestyle="none",
            marker=ABSENT[point.state][0],
            markersize=6,
            color=colour,
            transform=ax.get_xaxis_transform() + aside,
        )


def _set_weight_axis(info: AuxWeightFigure, ax: Axes) -> None:
    """Make the weight axis linear from 0 to the smallest positive weight, logarithmic beyond."""
    reported = [weight for weight, _ in info.reported]
    weights = {point.aux_weight for series in info.series for point in series.points}
    low, high = min(weight for weight in reported if weight > 0), max(reported)
    # The report's weights are labelled, and the study's where the report has none near.
    ticks = sorted({*reported, *(weight for weight in weights if 0 < weight < low or weight > high)})
    smallest = next(weight for weight in ticks if weight > 0)
    ax.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    ax.set_xticks(ticks, [f"{weight:g}" for weight in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlim(-0.3 * smallest, 1.6 * ticks[-1])
    ax.set_xlabel("auxiliary weight (symlog)")
    ax.grid(axis="y", linewidth=0.4, alpha=0.6)


def _set_accuracy_axis(info: AuxWeightFigure, ax: Axes) -> None:
    """Leave a band for the marks below all that has an accuracy, shaded so that no mark is read as one."""
    points = [point for series in info.series for point in series.points if point.state == "complete"]
    ends = [end for point in points for end in (point.mean, point.mean - point.std, point.mean + point.std)]
    values = [value for value in (*ends, *(accuracy for _, accuracy in info.reported)) if value == value]
    low, high = min(values), max(values)
    marked = any(point.state in ABSENT for series in info.series for point in series.points)
    below, above = 0.06 + MARK_HEIGHT * len(info.series) * marked, 0.06
    scale = (high - low) / (1 - below - above)
    bottom = low - below * scale
    ax.set_ylim(bottom, high + above * scale)
    if marked:  # above the grid, below the lines
        top = bottom + MARK_HEIGHT * (len(info.series) + 0.2) * scale
        ax.axhspan(bottom, top, color=BAND_GREY, linewidth=0, zorder=1.6)
    ax.set_ylabel("test accuracy, %")


def _add_legend(info: AuxWeightFigure, ax: Axes) -> None:
    """Put the legend below the axes, with a grey mark for each kind of absence that occurs."""
    occurring = {point.state for series in info.series for point in series.points}
    absent = [
        Line2D([], [], linestyle="none", marker=marker, color="black", label=f"{word}: no estimate")
        for state, (marker, word) in ABSENT.items()
        if state in occurring
    ]
    handles, _ = ax.get_legend_handles_labels()
    ax.legend(
        handles=[*handles, *absent], loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False
    )
