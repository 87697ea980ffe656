"""What the factors do: their main effects, an analysis of variance, and the tables of both."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, direction, gain_columns, in_unit, probability
from analysis.settings import as_key, values_of
from analysis.statistics.cells import by_seed, format_setting, summarise_cells
from analysis.statistics.inference import Estimate, Values, estimate, estimate_as_row
from analysis.stored import AnalysisError

# An effect that is a smaller part of the largest value is rounding: sums of thousands of values err by less.
ROUNDING = 1e-12


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


@dataclass(frozen=True)
class Compared:
    """The complete cells of a study whose effects can be told apart.

    ``keys`` has one row per ``cell_id`` and one column per setting that varies among them, with texts
    that only equal values share. ``factors`` are those columns that tell the cells apart; ``tied`` are the
    others, which are functions of the factors, such as a learning rate that a rule sets by dropout.
    """

    keys: pd.DataFrame
    factors: tuple[str, ...]
    tied: tuple[str, ...]
    left_out: str

    def pairs(self, factor: str, baseline: str, value: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the cells with the value and, row by row, those that differ from them in the baseline only."""
        key = [name for name in self.factors if name != factor]
        keys = self.keys[[factor, *key]].reset_index()
        with_value = keys[keys[factor] == value]
        with_baseline = keys[keys[factor] == baseline]
        how: dict[str, Any] = {"on": key} if key else {"how": "cross"}
        found = with_value.merge(with_baseline, suffixes=("", "_base"), **how)
        return self.keys.loc[found["cell_id"]], self.keys.loc[found["cell_id_base"]]


def compared_cells(data: StudyData) -> Compared:
    """Return the complete cells of the model that most cells have; of all models for a tie.

    What varies is decided by these cells, whatever role a grid gave it: a setting with the role ``fixed``, or
    none, is tied only if it is a function of the factors among them, otherwise it is a factor.
    Raises AnalysisError if two cells have the same settings.
    """
    cells = summarise_cells(data).set_index("cell_id")
    # Other models lack some of the factors, so their cells have no partners to pair with.
    counts = cells["model"].value_counts()
    most = counts.index[counts == counts.max()]
    models = most if len(most) == 1 else counts.index
    of_model = cells[cells["model"].isin(models)]
    complete = of_model[of_model["state"] == "complete"]

    names = dict.fromkeys([*data.info.roles, *sorted(set().union(*data.info.cells) - {"cell_id"})])
    keys = complete[list(names)].map(as_key)
    keys = keys.loc[:, keys.nunique() > 1]
    factors = [name for name in names if name in keys and data.info.roles.get(name, "fixed") != "fixed"]
    tied: list[str] = []
    for name in map(str, keys.columns.drop(factors)):
        is_tied = bool(factors) and keys.groupby(factors)[name].nunique().max() == 1
        (tied if is_tied else factors).append(name)
    if factors and (same := keys.index[keys.duplicated(factors, keep=False)]).size:
        raise AnalysisError(
            f"the cells {', '.join(same[:2])} of study {data.name} have the same settings, so no pair of cells is "
            "certain; expected each cell once: keep them in studies of their own"
        )
    left_out = f" Only cells of the model {most[0]} count." if len(models) < len(counts) else ""
    if pruned := (of_model["state"] == "pruned").sum():
        left_out += f" {pruned} pruned cells are left out: these are means of the cells that survived."
    return Compared(keys, tuple(factors), tuple(tied), left_out)


def main_effects_data(data: StudyData) -> tuple[Effect, ...]:
    """Estimate the effect of every value of every factor."""
    compared = compared_cells(data)
    values_of_cells = by_seed(data, data.reported)
    effects = []
    for factor in compared.factors:
        found = set(compared.keys[factor])
        # A cell that does not have the factor is no baseline.
        baseline, *values = [value for value in values_of(data.info, factor) if as_key(value) in found]
        for value in values:
            with_value, with_baseline = compared.pairs(factor, as_key(baseline), as_key(value))
            if with_value.empty:
                continue
            gains = values_of_cells.loc[with_value.index].to_numpy(float)
            gains = gains - values_of_cells.loc[with_baseline.index].to_numpy(float)
            # The last bit of a mean depends on the layout in memory: here, that of the cells.
            mean = np.ascontiguousarray(gains).mean(axis=0)
            changed = (with_value.to_numpy() != with_baseline.to_numpy()).any(axis=0)
            along = tuple(name for name in compared.keys.columns[changed] if name in compared.tied)
            effects.append(Effect(factor, value, baseline, along, len(gains), estimate(mean)))
    return tuple(effects)


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
    compared = compared_cells(data)
    factors = compared.factors
    seeds = len(data.info.seeds)
    if not factors or seeds < 2:
        return Anova((), 0, "An analysis of variance needs a factor with two values and two seeds.")
    levels = [compared.keys[name].nunique() for name in factors]
    crossings = prod(levels)
    if crossings != len(compared.keys):
        why = f"of {crossings} combinations of {', '.join(factors)}, {len(compared.keys)} are complete"
        fix = "To get one, cross the factors in the grid and run it with --scheduler none."
        return Anova((), 0, f"There is no analysis of variance: {why}, and it needs all of them. {fix}")

    # The cells in the order of their factors make an array with one axis per factor.
    reported = by_seed(data, data.reported).loc[compared.keys.sort_values(list(factors)).index]
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
    residual_sq = _sum_of_squares(residual, values)
    rows = []
    for term, effect in effects.items():
        row = AnovaRow(term, df[term], _sum_of_squares(effect, values))
        # Without a residual, there is nothing to test against.
        if residual_sq:
            f = (row.sum_sq / row.df) / (residual_sq / residual_df)
            p = float(stats.f.sf(f, row.df, residual_df))
            row = replace(row, f=f, p=p, partial_eta_sq=row.sum_sq / (row.sum_sq + residual_sq))
        rows.append(row)
    return (*rows, AnovaRow("residual", residual_df, residual_sq))


def _sum_of_squares(effect: Values, values: Values) -> float:
    """Return the sum of squares of an effect over all ``values``; 0 if it is nothing but their rounding."""
    rounding = ROUNDING * np.abs(values).max()
    return float(np.square(effect).sum() * (values.size // effect.size)) if np.abs(effect).max() > rounding else 0.0


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


def interaction_data(data: StudyData, anova: Anova) -> pd.DataFrame | None:
    """Return the mean objective by the two factors that interact most, one row per value of the first; None without."""
    compared = compared_cells(data)
    terms = {f"{a} x {b}".replace("_", " "): [a, b] for a, b in combinations(compared.factors, 2)}
    rows = [row for row in anova.rows if row.term in terms]
    if not rows:
        return None
    pair = terms[max(rows, key=lambda row: row.sum_sq / row.df).term]
    means = summarise_cells(data).set_index("cell_id")[f"{data.reported}_mean"].loc[compared.keys.index]
    table = means.groupby([compared.keys[name] for name in pair]).mean().unstack()
    # Rows are sorted and named, then columns: the table is turned over twice.
    for name in pair:
        known = {as_key(value): format_setting(value) for value in values_of(data.info, name)}
        table = table.reindex([key for key in known if key in table.index]).rename(known).T
    return table


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
        f"with it. A value without such a pair is not listed.{compared_cells(data).left_out} Differences are paired by "
        f"seed, with 95 % t intervals that are not corrected for their number.{direction(goal)}"
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
