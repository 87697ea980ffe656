"""What the factors bring: main effects and the contrasts that were named in advance, with their intervals."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from analysis.figures.style import REPORTED_GREY, STYLES
from analysis.output.sheet import probability
from analysis.statistics.cells import format_setting
from analysis.statistics.contrasts import EstimatedContrast
from analysis.statistics.effects import Effect

NO_BREAK = "\N{NO-BREAK SPACE}"
MAIN_ROWS = 60  # more would be a picture of metres; the table has all
MAIN, NAMED = STYLES[0], STYLES[1]  # by colour and marker


@dataclass(frozen=True)
class EffectRow:
    """A line of the figure: a difference of test accuracy over n seeds, in points, with its 95 % t interval.

    All three are NaN, and n is 0, where there is no estimate; ``label`` then says why. ``named`` tells contrasts that
    the grid named in advance from main effects.
    """

    label: str
    n: int
    mean: float
    low: float
    high: float
    named: bool


def effects_data(effects: Sequence[Effect], contrasts: Sequence[EstimatedContrast]) -> tuple[EffectRow, ...]:
    """Return the contrasts, then the main effects; of more than MAIN_ROWS, the largest."""
    nan = float("nan")
    rows = []
    for contrast in contrasts:
        found = contrast.estimate
        if found is None:
            rows.append(EffectRow(f"{contrast.name}: no estimate", 0, nan, nan, nan, True))
        else:
            p = probability(contrast.p_holm)
            sign = "" if p.startswith("<") else "= "
            label = f"{contrast.name} " + f"(p {sign}{p})".replace(" ", NO_BREAK)
            rows.append(EffectRow(label, found.n, 100 * found.mean, 100 * found.low, 100 * found.high, True))
    largest = sorted(effects, key=lambda effect: -abs(effect.estimate.mean))[:MAIN_ROWS]
    for effect in (effect for effect in effects if effect in largest):
        found = effect.estimate
        along = f" (with {' and '.join(effect.along)})" if effect.along else ""
        label = f"{effect.factor}: {format_setting(effect.value)} − {format_setting(effect.baseline)}{along}"
        label = label.replace("_", " ")
        rows.append(EffectRow(label, found.n, 100 * found.mean, 100 * found.low, 100 * found.high, False))
    return tuple(rows)


def draw_effects(rows: Sequence[EffectRow], ax: Axes) -> None:
    """Draw a line a row, the first on top, around the line of no effect."""
    for named, (colour, marker, _), words in ((True, NAMED, "named in advance"), (False, MAIN, "main effect")):
        places = [place for place, row in enumerate(rows) if row.named == named]
        if places:
            means = [rows[place].mean for place in places]
            below = [rows[place].mean - rows[place].low for place in places]
            above = [rows[place].high - rows[place].mean for place in places]
            seeds = sorted({rows[place].n for place in places if rows[place].n})
            label = f"{words}, n = {', '.join(map(str, seeds)) or 0}"
            ax.errorbar(
                means,
                places,
                xerr=(below, above),
                linestyle="none",
                color=colour,
                marker=marker,
                markersize=5,
                capsize=3,
                elinewidth=1.2,
                label=label,
            )
    ax.axvline(0, color=REPORTED_GREY, linewidth=1, zorder=1)
    labels = [textwrap.fill(row.label, 42) for row in rows]
    ax.set_yticks(range(len(rows)), labels, fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("points of test accuracy, 95 % t interval")
    ax.grid(axis="x", linewidth=0.4, alpha=0.6)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=8, frameon=False)
