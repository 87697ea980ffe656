"""Figures of a search: accuracy in the order of the cells, accuracy against each setting, and importance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.figures.style import BLACK, GREY, GRID, STYLES
from analysis.statistics.cells import format_setting
from analysis.statistics.search_summary import Importance, TriedCell

COLOUR = STYLES[0].colour
BEST_COLOUR = STYLES[1].colour


@dataclass(frozen=True)
class Slice:
    """All cells against one searched setting: ``places`` on the axis, accuracies in percent, pruned or not.

    Choices have the places 0, 1, ... and ``labels``; numbers have no labels.
    """

    setting: str
    places: tuple[float, ...]
    accuracies: tuple[float, ...]
    pruned: tuple[bool, ...]
    log: bool
    labels: tuple[str, ...]


def slice_data(tried: Sequence[TriedCell], setting: str, given: Mapping[str, Any]) -> Slice:
    """Return the cells against a setting whose range is ``given`` as in a grid file."""
    values = [cell.settings[setting] for cell in tried]
    choices = given.get("choices", [])
    if choices:
        values = [choices.index(value) for value in values]
    return Slice(
        setting,
        tuple(map(float, values)),
        tuple(100 * cell.accuracy for cell in tried),
        tuple(cell.pruned for cell in tried),
        given["log"],
        tuple(map(format_setting, choices)),
    )


def draw_history(tried: Sequence[TriedCell], ax: Axes) -> None:
    """Draw one mark per cell, a cross for a pruned one, and the best so far as steps."""
    places = [cell.place for cell in tried]
    best = [np.nan if cell.best is None else 100 * cell.best for cell in tried]
    ax.step(places, best, where="post", color=BEST_COLOUR, linewidth=1.4, label="best so far")
    _draw_cells(ax, places, [100 * cell.accuracy for cell in tried], [cell.pruned for cell in tried])
    ax.set_xlabel("cell, in the order in which they ended")
    ax.set_ylabel("validation accuracy, %")
    ax.grid(axis="y", **GRID)
    ax.legend(loc="lower right", fontsize=8, frameon=False)


def _draw_cells(ax: Axes, places: Sequence[float], accuracies: Sequence[float], pruned: Sequence[bool]) -> None:
    """Draw the marks of the cells. Those below the fence are drawn at the fence, or they would flatten the others."""
    # Tukey's fence for outliers ("Exploratory Data Analysis", 1977).
    low, high = np.quantile(accuracies, (0.25, 0.75))
    fence = low - 1.5 * (high - low)
    heights = np.maximum(accuracies, fence)
    kinds = np.where(np.less(accuracies, fence), "lower still", np.where(pruned, "pruned", "a cell"))
    marks = (("a cell", "o", COLOUR), ("pruned", "x", GREY), ("lower still", "v", BLACK))
    for kind, marker, colour in marks:
        chosen = kinds == kind
        if chosen.any():
            ax.plot(
                np.array(places)[chosen],
                heights[chosen],
                linestyle="none",
                marker=marker,
                markersize=5,
                color=colour,
                label=kind,
            )
    if "lower still" in kinds:
        ax.set_ylim(bottom=fence - 0.08 * (max(accuracies) - fence))


def draw_slice(info: Slice, ax: Axes) -> None:
    """Draw the cells against the setting."""
    _draw_cells(ax, info.places, info.accuracies, info.pruned)
    if info.log:
        ax.set_xscale("log")
    if info.labels:
        ax.set_xticks(range(len(info.labels)), info.labels)
        ax.set_xlim(-0.5, len(info.labels) - 0.5)
    ax.set_xlabel(info.setting.replace("_", " "))
    ax.set_ylabel("validation accuracy, %")
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
