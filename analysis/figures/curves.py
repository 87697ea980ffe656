"""Learning curves: the mean objective by epoch, one line per cell and one panel per stratum."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import GRID, RAMP
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.statistics.cells import describe_settings, sort_cells, strata_of, summarise_cells
from analysis.stored import StoredMetric

LINES = ("-", "--", "-.", ":")
# Of a large study, so many strata and cells of each are drawn: more could not be told apart.
PANELS = 8
CURVES = 8
ONLY_CELL = "the cell"  # labels the one cell of a stratum in which no factor is tuned
WIDE = 30  # characters of a label; two longer labels do not fit beside each other
TITLE_WIDTH = 60  # characters of a line of a title
MARGIN = 0.06  # above and below all curves, as a part of their range
MARGIN_POINTS = 3  # the same of percentages, which end at 0 and 100
FARTHEST = 10  # times the median's distance from the best: curves farther off leave the axis


@dataclass(frozen=True)
class Curve:
    """A cell over its seeds, in the unit of the objective by epoch: the mean, and the quartiles of the seeds.

    A seed that has ended keeps its last value. ``pruned`` says that the cell was ended early.
    """

    label: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    pruned: bool


@dataclass(frozen=True)
class CurvesFigure:
    """The curves of a stratum's cells, ordered by their tuned factors; n is the number of seeds.

    All panels of a study go from ``bottom`` to ``top``, in the same unit, so that strata can be compared.
    """

    title: str
    n: int
    curves: tuple[Curve, ...]
    bottom: float
    top: float


def shown_cells(data: StudyData) -> Sequence[str]:
    """Return the ids of the cells whose curves are drawn; no other epochs are needed.

    All; of a search, or of more than PANELS x CURVES cells, the CURVES best of each of the PANELS
    best strata by mean objective on validation, incomplete cells last. A stratum ranks by its best cell.
    """
    cells = summarise_cells(data)
    if len(cells) <= PANELS * CURVES and data.info.search is None:
        return cells["cell_id"].tolist()
    ranked = cells.sort_values("merit", ascending=False, kind="stable")
    stratum = ranked.groupby(strata_of(ranked, data.scientific), sort=False).ngroup()
    shown = (stratum < PANELS) & (stratum.groupby(stratum).cumcount() < CURVES)
    return ranked.loc[shown, "cell_id"].tolist()


def curves_data(data: StudyData) -> tuple[CurvesFigure, ...]:
    """Return one figure per stratum, of its shown cells that have recorded epochs."""
    if data.selection not in data.epochs:
        return ()
    cells = summarise_cells(data).sort_values("tie_order")
    cells = sort_cells(data.info, cells[cells["cell_id"].isin(shown_cells(data))], data.tuned)
    planned = data.epochs["seed"].isin(data.info.seeds)
    epochs = data.epochs[planned & data.epochs["cell_id"].isin(cells["cell_id"])]
    by_epoch = epochs.pivot_table(index="epoch", columns=["cell_id", "seed"], values=data.selection)
    known = set(by_epoch.columns.get_level_values("cell_id"))

    # A stratum is named by its scientific factors; cells of the same name share a panel.
    strata: dict[str, list[Curve]] = {}
    for cell in cells[cells["cell_id"].isin(known)].to_dict("records"):
        title = describe_settings(cell, data.scientific) or "all cells"
        label = describe_settings(cell, data.tuned) or ONLY_CELL
        strata.setdefault(title, []).append(_curve(cell, label, data.info.goal.scale * by_epoch[cell["cell_id"]]))

    if not strata:
        return ()
    ends = _ends(list(chain.from_iterable(strata.values())), data.info.goal)
    n = len(data.info.seeds)
    return tuple(CurvesFigure(title, n, tuple(curves), *ends) for title, curves in strata.items())


def _ends(curves: Sequence[Curve], goal: StoredMetric) -> tuple[float, float]:
    """Return the ends of the axis."""
    # The first tenth of the epochs is near chance and would flatten everything else.
    shares = (0.1, 1.0) if goal.sign > 0 else (0.0, 0.9)
    low, high = np.transpose([np.quantile(curve.mean, shares) for curve in curves])
    bottom, top = float(low.min()), float(high.max())
    if goal.unit == "%" and bottom >= 0 and top <= 100:
        return max(-0.5, bottom - MARGIN_POINTS), min(100.5, top + MARGIN_POINTS)

    # So would a training that went wrong: without limits, a figure may be as bad as it likes.
    if goal.sign > 0:
        bottom = max(bottom, top - (FARTHEST * (top - float(np.median(low))) or top - bottom))
    else:
        top = min(top, bottom + (FARTHEST * (float(np.median(high)) - bottom) or top - bottom))
    margin = MARGIN * (top - bottom) or abs(top) / 10 or 1.0
    return bottom - margin, top + margin


def _curve(cell: Mapping[Any, Any], label: str, by_seed: pd.DataFrame) -> Curve:
    """Summarise the seeds of a cell, whose values are in columns."""
    values = by_seed.dropna(how="all").ffill()
    mean = values.mean(axis=1)
    low, high = values.quantile([0.25, 0.75], axis=1).to_numpy()
    return Curve(label, tuple(values.index), tuple(mean), tuple(low), tuple(high), cell["state"] == "pruned")


def curves_picture(data: StudyData) -> Picture | None:
    """Return the picture of a study's curves; None if it has none."""
    infos = curves_data(data)
    longest = max((curve.epochs[-1] for info in infos for curve in info.curves), default=0)
    # One epoch makes no curve.
    if longest < 2:
        return None
    goal, part = data.info.goal, data.info.selected_part
    caption = (
        "Mean over seeds, with the range of the middle half of the seeds. A seed that has ended keeps its "
        "last value; a cross marks where a cell was pruned."
    )
    if left_out := len(data.info.cells) - len(shown_cells(data)):
        caption += (
            f" For the {PANELS} combinations with the best cells, the {CURVES} best cells by mean "
            f"{goal.in_words(part)} of each are shown; {left_out} cells are left out."
        )
    what = goal.in_words(part).capitalize()
    alt = f"{what} by epoch, one line per cell, one panel per combination of the scientific factors"
    panels = Panels(infos, partial(draw_curves, goal, part=part), (5.0, 3.6), columns=min(2, len(infos)))
    return make_picture("curves", alt, caption, panels)


def draw_curves(goal: StoredMetric, info: CurvesFigure, ax: Axes, part: str = "val") -> None:
    """Draw one line per cell with the band of its quartiles; a cross ends a pruned cell."""
    for index, curve in enumerate(info.curves):
        colour = RAMP(0.9 * index / max(1, len(info.curves) - 1))
        label = f"{curve.label}, pruned" if curve.pruned else curve.label
        line = LINES[index % len(LINES)]
        # One epoch makes no line.
        marker = "o" if len(curve.epochs) == 1 else None
        ax.plot(curve.epochs, curve.mean, line, color=colour, linewidth=1.4, marker=marker, label=label)
        ax.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0)
        if curve.pruned:
            ax.plot(curve.epochs[-1], curve.mean[-1], "x", color=colour, markersize=8, markeredgewidth=2)
    # A longer title would be cut, and two that begin alike would be the same.
    ax.set_title(f"{textwrap.fill(info.title, TITLE_WIDTH)}\nn = {info.n}", fontsize=9)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(goal.heading(part))
    ax.set_ylim(info.bottom, info.top)
    ax.grid(**GRID)
    # The title already says which cell an only cell is.
    if any(curve.label != ONLY_CELL or curve.pruned for curve in info.curves):
        wide = any(len(curve.label) > WIDE for curve in info.curves)
        ax.legend(
            fontsize=7, frameon=False, ncols=1 if wide else 2, loc="lower right" if goal.sign > 0 else "upper right"
        )
