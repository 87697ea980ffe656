"""Each contrast by seed: one line per seed, from its minus side to its plus side."""

import textwrap
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from analysis.figures.style import GREY, GRID, STYLES
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.statistics.contrasts import EstimatedContrast

SLOPES = 12  # contrasts that are drawn
TITLE_WIDTH = 36  # characters of a line
HOW_TO_READ = (
    "One line per seed; the thick line is their mean. Lines that rise or fall together are a difference that hardly "
    "depends on the seed; lines that cross are a difference that may come from a few seeds."
)


def slopes_picture(data: StudyData, contrasts: Sequence[EstimatedContrast]) -> Picture | None:
    """Return the picture of the contrasts that have an estimate, the first ``SLOPES``; None without one."""
    estimated = [contrast for contrast in contrasts if contrast.estimate is not None]
    if not estimated:
        return None
    caption = HOW_TO_READ
    if any(len(contrast.plus) > 1 for contrast in estimated):
        caption += " Sides of several cells are sums."
    if any(contrast.collapsed for contrast in estimated):
        caption += " Collapsed seeds are dashed."
    if (left_out := len(estimated) - SLOPES) > 0:
        caption += f" {left_out} more contrasts are left out."
    shown = estimated[:SLOPES]
    seeds = data.info.seeds
    panels = Panels(shown, partial(draw_slopes, data, seeds), (3.4, 3.0), columns=min(3, len(shown)))
    alt = "The reported metric of both sides of each contrast, one line per seed"
    return make_picture("slopes", alt, f"{data.info.goal.heading(data.reported_part).capitalize()}. {caption}", panels)


def draw_slopes(data: StudyData, seeds: Sequence[int], contrast: EstimatedContrast, ax: Axes) -> None:
    """Draw one line per seed, and their mean, in the unit of the objective."""
    assert contrast.sums is not None
    plus, minus = data.info.goal.scale * contrast.sums
    for seed, low, high in zip(seeds, minus, plus, strict=True):
        line = "--" if seed in contrast.collapsed else "-"
        ax.plot([0, 1], [low, high], line, color=GREY, linewidth=0.8, marker="o", markersize=2.5)
    ax.plot([0, 1], [minus.mean(), plus.mean()], color=STYLES[1].colour, linewidth=2.5, marker="s")
    ax.set_xticks([0, 1], ["minus", "plus"])
    ax.set_xlim(-0.2, 1.2)
    ax.set_ylabel(data.info.goal.heading(data.reported_part))
    title = textwrap.fill(contrast.name, TITLE_WIDTH)
    ax.set_title(f"{title}\nn = {len(plus)}", fontsize=9)
    ax.grid(axis="y", **GRID)
