"""Main effects and the contrasts that were named in advance, with their intervals."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import GREY, GRID, LEGEND_ABOVE, LEGEND_TEXT, STYLES, Style, draw_estimates
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.output.sheet import direction, in_unit, probability
from analysis.statistics.cells import format_setting
from analysis.statistics.contrasts import EstimatedContrast
from analysis.statistics.effects import Anova, Effect, interaction_data
from analysis.statistics.inference import Estimate

NO_BREAK = "\N{NO-BREAK SPACE}"
MAIN_ROWS = 60  # a picture of more rows would be metres high; the table has all of them
LABEL_WIDTH = 42  # characters of a line of a label


@dataclass(frozen=True)
class EffectRow:
    """A difference of the objective over n seeds, in its unit, with its 95 % t interval.

    Without an estimate all three are NaN, n is 0, and ``label`` says so. ``named`` tells
    contrasts that the grid named in advance from main effects.
    """

    label: str
    n: int
    mean: float
    low: float
    high: float
    named: bool


def effects_data(
    effects: Sequence[Effect], contrasts: Sequence[EstimatedContrast], scale: float
) -> tuple[EffectRow, ...]:
    """Return the contrasts, then the main effects, of which at most the MAIN_ROWS largest."""
    rows = [_row(_contrast_label(contrast), contrast.estimate, scale, named=True) for contrast in contrasts]
    largest = sorted(effects, key=lambda effect: -abs(effect.estimate.mean))[:MAIN_ROWS]
    # They stay in the order of the table, so that the values of a factor stand together.
    for effect in effects:
        if effect in largest:
            rows.append(_row(_effect_label(effect), effect.estimate, scale, named=False))
    return tuple(rows)


def _row(label: str, found: Estimate | None, scale: float, named: bool) -> EffectRow:
    if found is None:
        return EffectRow(label, 0, float("nan"), float("nan"), float("nan"), named)
    return EffectRow(label, found.n, scale * found.mean, scale * found.low, scale * found.high, named)


def _contrast_label(contrast: EstimatedContrast) -> str:
    if contrast.estimate is None:
        return f"{contrast.name}: no estimate"
    p = probability(contrast.p_holm)
    sign = "" if p.startswith("<") else "= "
    return f"{contrast.name} " + f"(p {sign}{p})".replace(" ", NO_BREAK)


def _effect_label(effect: Effect) -> str:
    along = f" (with {' and '.join(effect.along)})" if effect.along else ""
    values = f"{format_setting(effect.value)} − {format_setting(effect.baseline)}"
    return f"{effect.factor}: {values}{along}".replace("_", " ")


def effects_picture(data: StudyData, effects: Sequence[Effect], contrasts: Sequence[EstimatedContrast]) -> Picture:
    """Return the picture of a study's contrasts and main effects."""
    goal = data.info.goal
    what = f"{goal.in_words(data.reported_part)}{in_unit(goal)}"
    rows = effects_data(effects, contrasts, goal.scale)
    caption = f"Differences of {what}, paired by seed, with 95 % t intervals.{direction(goal)}"
    if (left_out := len(effects) - MAIN_ROWS) > 0:
        caption += f" The {MAIN_ROWS} largest main effects are shown; {left_out} are left out."
    alt = "Main effects of the factors and the contrasts named in advance, with their intervals"
    panels = Panels([rows], partial(draw_effects, f"difference of {what}"), (8.0, 1.2 + 0.32 * len(rows)))
    return make_picture("effects", alt, caption, panels)


def interaction_picture(data: StudyData, anova: Anova) -> Picture | None:
    """Return the picture of the two factors that interact most; None without an analysis of variance of two."""
    table = interaction_data(data, anova)
    if table is None:
        return None
    a, b = (str(name).replace("_", " ") for name in table.axes[0].names + table.axes[1].names)
    what = data.info.goal.in_words(data.reported_part)
    caption = (
        f"Mean {what} by the two factors whose interaction is the largest, {a} and {b}. Parallel lines: each factor "
        "brings the same, whatever the other is. The analysis of variance has the test."
    )
    heading = data.info.goal.heading(data.reported_part)
    panels = Panels([data.info.goal.scale * table], partial(draw_interaction, heading), (6.4, 3.8))
    return make_picture("interaction", f"Mean {what} by {a}, one line for each {b}", caption, panels)


def draw_interaction(what: str, table: pd.DataFrame, ax: Axes) -> None:
    """Draw one line per column over the rows; ``what`` says what the figures are."""
    for place, (value, means) in enumerate(table.items()):
        style = STYLES[place % len(STYLES)]
        look = {"color": style.colour, "marker": style.marker, "linestyle": style.line}
        ax.plot(range(len(table)), means, **look, label=f"{table.columns.name} {value}".replace("_", " "))
    ax.set_xticks(range(len(table)), list(table.index))
    ax.set_xlabel(str(table.index.name).replace("_", " "))
    ax.set_ylabel(what)
    ax.grid(axis="y", **GRID)
    ax.legend(**LEGEND_ABOVE, **LEGEND_TEXT)


def draw_effects(what: str, rows: Sequence[EffectRow], ax: Axes) -> None:
    """Draw one row each, the first on top, around the line of no effect; ``what`` says what they are."""
    _draw_kind(rows, True, STYLES[1], "named in advance", ax)
    _draw_kind(rows, False, STYLES[0], "main effect", ax)
    ax.axvline(0, color=GREY, linewidth=1, zorder=1)
    ax.set_yticks(range(len(rows)), [textwrap.fill(row.label, LABEL_WIDTH) for row in rows], fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(f"{what}, 95 % t interval")
    ax.grid(axis="x", **GRID)
    ax.legend(**LEGEND_ABOVE, **LEGEND_TEXT)


def _draw_kind(rows: Sequence[EffectRow], named: bool, style: Style, words: str, ax: Axes) -> None:
    """Draw the contrasts, or the main effects, at their places among all rows."""
    places = [place for place, row in enumerate(rows) if row.named == named]
    if not places:
        return
    drawn = [rows[place] for place in places]
    seeds = sorted({row.n for row in drawn if row.n})
    label = f"{words}, n = {', '.join(map(str, seeds)) or 0}"
    # Rows without an estimate are NaN; they keep their place and show no mark.
    draw_estimates([(row.mean, row.low, row.high) for row in drawn], places, style, label, ax)
