"""What the factors do: their main effects, an analysis of variance, and the tables of both."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, compress
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, direction, gain_columns, in_unit, probability
from analysis.statistics.cells import by_seed, format_setting, sort_cells, summarise_cells, values_in_order
from analysis.statistics.inference import Estimate, Values, estimate, estimate_as_row
from analysis.statistics.selection import matching


@dataclass(frozen=True)
class Effect:
    """What a value of a factor adds to the objective compared with its first value.

    ``estimate`` is as stored, paired by seed: the mean over all ``pairs`` of complete cells
    that differ in this factor and in ``along``, settings that are no factors and change with
    it, such as a learning rate that a rule ties to dropout.
    """

    factor: str
    value: Any
    baseline: Any
    along: tuple[str, ...]
    pairs: int
    estimate: Estimate


def main_effects_data(data: StudyData) -> tuple[Effect, ...]:
    """Estimate the effect of every value of every factor."""
    cells = _compared(data)
    values_of = by_seed(data, data.reported)
    factors = _factors(data, cells)
    tied = [name for name in data.settings if name not in factors]
    effects = []
    for factor in factors:
        # A cell that does not have the factor is no baseline.
        baseline, *values = values_in_order(cells[factor].loc[cells[factor].map(format_setting) != ""])
        for value in values:
            with_value, with_baseline = _pairs(cells, factors, factor, baseline, value)
            if with_value.empty:
                continue
            gains = values_of.loc[with_value["cell_id"]].to_numpy(float)
            gains = gains - values_of.loc[with_baseline["cell_id"]].to_numpy(float)
            # The last bit of a mean depends on the layout in memory: here, that of the cells.
            mean = np.ascontiguousarray(gains).mean(axis=0)
            both = [side[tied].astype(object).fillna("").to_numpy() for side in (with_value, with_baseline)]
            changed = (both[0] != both[1]).any(axis=0)
            along = tuple(compress(tied, changed))
            effects.append(Effect(factor, value, baseline, along, len(gains), estimate(mean)))
    return tuple(effects)


def _compared(data: StudyData) -> pd.DataFrame:
    """Return the complete cells of the model that most cells have; of all models for a tie."""
    cells = summarise_cells(data)
    # Other models lack some of the factors, so their cells have no partners to pair with.
    counts = cells["model"].value_counts()
    most = counts.index[counts == counts.max()]
    models = most if len(most) == 1 else counts.index
    return cells[cells["model"].isin(models) & (cells["state"] == "complete")]


def _factors(data: StudyData, cells: pd.DataFrame) -> list[str]:
    return [name for name, role in data.info.roles.items() if role != "fixed" and len(values_in_order(cells[name])) > 1]


def _pairs(
    cells: pd.DataFrame, factors: Sequence[str], factor: str, baseline: Any, value: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells with the value and, row by row, those with the baseline instead."""
    # All have the same number of planned seeds: without other factors, all have the same key.
    key = [*(name for name in factors if name != factor), "n_planned"]
    keys = cells[[factor, *key]].assign(at=cells.index)
    bases = matching(keys, {factor: baseline}).drop_duplicates(key, keep="last")
    found = matching(keys, {factor: value}).merge(bases, on=key, suffixes=("", "_base"))
    return cells.loc[found["at"]], cells.loc[found["at_base"]]


@dataclass(frozen=True)
class AnovaRow:
    """A term of the analysis of variance, in squares of what is stored; the residual has no F, p and eta."""

    term: str
    df: int
    sum_sq: float
    f: float | None = None
    p: float | None = None
    partial_eta_sq: float | None = None


@dataclass(frozen=True)
class Anova:
    """An analysis of variance over ``n`` trainings; if it has no rows, ``note`` says why."""

    rows: tuple[AnovaRow, ...]
    n: int
    note: str


def anova_data(data: StudyData) -> Anova:
    """Fit the objective by the factors, their interactions in pairs, and the seed as a block.

    The sums of squares are of type II. It needs complete cells for all combinations of the
    factors: with holes, an interaction may be confounded with its factors.
    """
    cells = _compared(data)
    factors = _factors(data, cells)
    seeds = len(data.info.seeds)
    if not factors or seeds < 2:
        return Anova((), 0, "An analysis of variance needs a factor with two values and two seeds.")
    levels = [len(values_in_order(cells[name])) for name in factors]
    crossings = int(np.prod(levels))
    if crossings != len(cells):
        why = f"of {crossings} combinations of {', '.join(factors)}, {len(cells)} are complete"
        fix = "To get one, cross the factors in the grid and run it with --scheduler none."
        return Anova((), 0, f"There is no analysis of variance: {why}, and it needs all of them. {fix}")

    # The cells in the order of their factors make an array with one axis per factor.
    reported = by_seed(data, data.reported).loc[sort_cells(cells, factors)["cell_id"]]
    values = reported.to_numpy(float).reshape(*levels, seeds)
    return Anova(_anova_rows(values, factors), values.size, "")


def _anova_rows(values: Values, factors: Sequence[str]) -> tuple[AnovaRow, ...]:
    """Divide the sum of squares of ``values`` ``[levels of each factor, seeds]``.

    In a complete crossing the terms are orthogonal, so that each one's sum of squares is that
    of its own effects, whatever else is fitted (Scheffe, The Analysis of Variance, 1959,
    chapter 4), and no design matrix is needed.
    """
    effects = dict(_effects_of_terms(values, factors))
    df = {term: _degrees_of_freedom(effect) for term, effect in effects.items()}

    # What no term explains is the residual, against whose mean square every term is tested.
    residual = values - values.mean() - sum(effects.values())
    residual_df = values.size - 1 - sum(df.values())
    residual_sq = np.square(residual).sum()
    rows = []
    for term, effect in effects.items():
        sum_sq = np.square(effect).sum() * (values.size // effect.size)
        with np.errstate(divide="ignore", invalid="ignore"):  # if no seed differs from another
            f = (sum_sq / df[term]) / (residual_sq / residual_df)
            share = sum_sq / (sum_sq + residual_sq)
        p = float(stats.f.sf(f, df[term], residual_df))
        rows.append(AnovaRow(term, df[term], float(sum_sq), float(f), p, float(share)))
    return (*rows, AnovaRow("residual", residual_df, float(residual_sq)))


def _effects_of_terms(values: Values, factors: Sequence[str]) -> Iterator[tuple[str, Values]]:
    """Yield each term's name and its effects, which broadcast to ``values``: factors, seed, then interactions."""
    words = [name.replace("_", " ") for name in (*factors, "seed")]
    mains = [_margin(values, (axis,)) - values.mean() for axis in range(values.ndim)]
    yield from zip(words, mains, strict=True)
    for a, b in combinations(range(len(factors)), 2):
        yield f"{words[a]} x {words[b]}", _margin(values, (a, b)) - values.mean() - mains[a] - mains[b]


def _margin(values: Values, axes: tuple[int, ...]) -> Values:
    """Return the means over all axes but these, which keep their places."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    return np.asarray(values.mean(axis=others, keepdims=True))


def _degrees_of_freedom(effect: Values) -> int:
    return int(np.prod([size - 1 for size in effect.shape if size > 1]))


def effects_sheet(data: StudyData, effects: Sequence[Effect]) -> Sheet:
    """List what each value of each factor adds on average."""
    rows = []
    for effect in effects:
        row = {"factor": effect.factor, "value": effect.value, "baseline": effect.baseline}
        row |= {"along": " ".join(effect.along), "pairs": effect.pairs}
        rows.append(row | estimate_as_row(effect.estimate))
    goal = data.info.goal
    caption = (
        f"What a value of a factor adds to {goal.in_words(data.reported_part)}{in_unit(goal)}, compared with its first "
        "value: the mean over all pairs of complete cells that differ only in this factor and in what changes along "
        "with it. Only cells of the most frequent model count. Differences are paired by seed, with 95 % t intervals "
        f"that are not corrected for their number.{direction(goal)}"
    )
    columns = (
        Column("factor", lambda row: row["factor"].replace("_", " ")),
        Column("value", lambda row: format_setting(row["value"])),
        Column("compared with", lambda row: format_setting(row["baseline"])),
        Column("changes along", lambda row: row["along"].replace("_", " ")),
        *gain_columns(goal),
        Column("pairs of cells", lambda row: str(row["pairs"]), numeric=True),
        Column("n", lambda row: str(row["n"]), numeric=True),
    )
    return Sheet("effects", "Main effects", caption, columns, tuple(rows))


def anova_sheet(data: StudyData, anova: Anova) -> Sheet:
    """Show the analysis of variance."""
    goal = data.info.goal
    squared = replace(goal, scale=goal.scale**2)
    caption = (
        f"{goal.in_words(data.reported_part).capitalize()} of {anova.n} trainings by the factors, their interactions "
        f"in pairs, and the seed as a block. The sums of squares{in_unit(goal, 'squared ')} are of type II."
    )
    columns = (
        Column("term", lambda row: row["term"]),
        Column("df", lambda row: str(row["df"]), numeric=True),
        Column("sum of squares", lambda row: squared.number(row["sum_sq"]), numeric=True),
        Column("F", lambda row: _rounded(row["f"], 1), numeric=True),
        Column("p", lambda row: probability(row["p"]), numeric=True),
        Column("partial η²", lambda row: _rounded(row["partial_eta_sq"], 2), numeric=True),
    )
    return Sheet("anova", "Analysis of variance", caption, columns, tuple(map(asdict, anova.rows)))


def _rounded(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
