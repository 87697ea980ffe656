"""A search: the objective in order and against each setting, and importance."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.figures.style import BLACK, GREY, GRID, STYLES
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.statistics.cells import format_setting
from analysis.statistics.search_summary import Importance, TriedCell
from analysis.stored import StoredMetric

COLOUR = STYLES[0].colour
BEST_COLOUR = STYLES[1].colour


def search_pictures(
    data: StudyData, tried: Sequence[TriedCell], importances: Sequence[Importance]
) -> tuple[Picture, ...]:
    """Return the pictures of a search."""
    goal = data.info.goal
    what = goal.in_words("val")
    ranges = list(data.info.ranges.items())
    history = make_picture(
        "search",
        f"Mean {what} of the cells in the order in which they ended, and the best so far",
        "Mean over seeds at a cell's last epoch.",
        Panels([tried], partial(draw_history, goal), (6.4, 3.8)),
    )
    against = make_picture(
        "slices",
        f"Mean {what} against each of the searched settings",
        "All cells against each searched setting; the other settings differ too.",
        Panels(ranges, partial(draw_slice, goal, tried), (3.6, 3.0), columns=min(3, len(ranges))),
    )
    # Few cells have no estimate of importance.
    if not importances:
        return history, against
    importance = make_picture(
        "importance",
        f"How much of the variance of {what} each searched setting accounts for",
        "What each setting accounts for: by itself, or in part if settings interact.",
        Panels([importances], draw_importance, (6.4, 1.2 + 0.4 * len(importances))),
    )
    return history, against, importance


def draw_history(goal: StoredMetric, tried: Sequence[TriedCell], ax: Axes) -> None:
    """Draw one mark per cell, a cross for a pruned one, and the best so far as steps."""
    places = [cell.place for cell in tried]
    best = [np.nan if cell.best is None else goal.scale * cell.best for cell in tried]
    ax.step(places, best, where="post", color=BEST_COLOUR, linewidth=1.4, label="best so far")
    _draw_cells(goal, tried, places, ax)
    ax.set_xlabel("cell, in the order in which they ended")
    ax.set_ylabel(goal.heading("val"))
    ax.grid(axis="y", **GRID)
    ax.legend(loc="lower right" if goal.sign > 0 else "upper right", fontsize=8, frameon=False)


def _draw_cells(goal: StoredMetric, tried: Sequence[TriedCell], places: Sequence[float], ax: Axes) -> None:
    """Draw one mark per cell; those far worse than the others at the fence, or they would flatten the rest."""
    heights = np.array([goal.scale * cell.mean for cell in tried])
    pruned = np.array([cell.pruned for cell in tried])
    # Tukey's fence for outliers ("Exploratory Data Analysis", 1977), on the worse side.
    far, near = np.quantile(goal.sign * heights, (0.25, 0.75))
    fence = goal.sign * (far - 1.5 * (near - far))
    worse = goal.sign * heights < goal.sign * fence
    heights[worse] = fence
    side, beyond, arrow = ("bottom", "lower still", "v") if goal.sign > 0 else ("top", "higher still", "^")
    kinds = np.where(worse, beyond, np.where(pruned, "pruned", "a cell"))
    marks = (("a cell", "o", COLOUR), ("pruned", "x", GREY), (beyond, arrow, BLACK))
    for kind, marker, colour in marks:
        chosen = kinds == kind
        if chosen.any():
            ax.plot(np.array(places)[chosen], heights[chosen], marker, color=colour, markersize=5, label=kind)
    if worse.any():
        best = goal.sign * (goal.sign * heights).max()
        ax.set_ylim(**{side: fence - 0.08 * (best - fence)})


def draw_slice(
    goal: StoredMetric, tried: Sequence[TriedCell], searched: tuple[str, Mapping[str, Any]], ax: Axes
) -> None:
    """Draw the cells against a searched setting, whose range is given as in a grid file."""
    setting, given = searched
    places = [cell.settings[setting] for cell in tried]
    # What is chosen need not be a number, so it stands at its place in the list.
    if choices := given.get("choices"):
        places = list(map(choices.index, places))
        ax.set_xticks(range(len(choices)), list(map(format_setting, choices)))
        ax.set_xlim(-0.5, len(choices) - 0.5)
    elif given["log"]:
        ax.set_xscale("log")
    _draw_cells(goal, tried, places, ax)
    ax.set_xlabel(setting.replace("_", " "))
    ax.set_ylabel(goal.heading("val"))
    ax.grid(**GRID)


def draw_importance(importances: Sequence[Importance], ax: Axes) -> None:
    """Draw one bar per setting with its interval, the most important on top."""
    shares = [100 * found.share for found in importances]
    ax.barh(range(len(shares)), shares, height=0.6, color=COLOUR, alpha=0.8)
    for place, found in enumerate(importances):
        # One seed has no interval.
        if found.low is not None and found.high is not None:
            ends = [100 * found.low, 100 * found.high]
            ax.plot(ends, [place, place], color=BLACK, linewidth=1.2, marker="|")
    ax.set_yticks(range(len(shares)), [found.setting.replace("_", " ") for found in importances])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("percent of variance, with 95 % interval")
    ax.grid(axis="x", **GRID)
