"""What the factors do: contrasts named before the run, main effects, and an analysis of variance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from analysis.estimates import (
    Estimate,
    by_seed,
    describe_settings,
    describe_state,
    estimate,
    format_setting,
    holm,
    paired_p,
    summarise_cells,
)
from analysis.load import SETTINGS, StudyData
from analysis.selection import best_cell, matching
from analysis.sheets import Column, Sheet, interval, percent, probability


@dataclass(frozen=True)
class Contrast:
    """A comparison of cells that the grid named before the run; differences of test accuracy, fractions, by seed.

    ``plus`` and ``minus`` are the cells that its conditions stood for; ``state`` is ``complete``, or says why there is
    no estimate. ``p`` is of the two-sided paired t test, NaN for one seed; ``p_holm`` is corrected for the number of
    the study's complete contrasts.
    """

    name: str
    plus: tuple[Mapping[str, Any], ...]
    minus: tuple[Mapping[str, Any], ...]
    state: str
    estimate: Estimate | None
    p: float | None
    p_holm: float | None


def contrasts_data(data: StudyData, rng: np.random.Generator) -> tuple[Contrast, ...]:
    """Estimate the study's contrasts; ``rng`` draws the bootstrap intervals."""
    cells, accuracy = summarise_cells(data), by_seed(data, "test_accuracy")
    found = [_contrast(contrast, cells, accuracy, rng) for contrast in data.info.get("contrasts", [])]
    known = [contrast.p for contrast in found if contrast.p is not None and contrast.p == contrast.p]
    corrected = iter(holm(known))
    return tuple(replace(c, p_holm=next(corrected)) if c.p is not None and c.p == c.p else c for c in found)


def _contrast(
    contrast: Mapping[str, Any], cells: pd.DataFrame, accuracy: pd.DataFrame, rng: np.random.Generator
) -> Contrast:
    name = contrast["name"]
    sides: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for side in ("plus", "minus"):
        candidates = [matching(cells, condition) for condition in contrast[side]]
        chosen = [best_cell(rows) for rows in candidates]
        for rows, cell, condition in zip(candidates, chosen, contrast[side], strict=True):
            if cell is None:
                states = dict.fromkeys(describe_state(row) for row in rows.to_dict("records"))
                state = "; ".join(states) or "not in this study"
                return Contrast(name, (), (), f"{describe_settings(condition, condition)}: {state}", None, None, None)
        sides[side] = tuple(cell for cell in chosen if cell is not None)
    values = {side: sum(accuracy.loc[cell["cell_id"]].to_numpy(float) for cell in sides[side]) for side in sides}
    differences = values["plus"] - values["minus"]
    return Contrast(
        name, sides["plus"], sides["minus"], "complete", estimate(differences, rng), paired_p(differences), None
    )


@dataclass(frozen=True)
class Effect:
    """What a value of a factor brings over its first one: test accuracy, a fraction, paired by seed.

    The mean over all ``pairs`` of complete comparator cells that differ in this factor, and ``along`` it in what is
    not a factor of its own, such as a learning rate that a rule ties to dropout.
    """

    factor: str
    value: Any
    baseline: Any
    along: tuple[str, ...]
    pairs: int
    estimate: Estimate


def main_effects_data(data: StudyData, rng: np.random.Generator) -> tuple[Effect, ...]:
    """Estimate the effect of every value of every factor; ``rng`` draws the bootstrap intervals."""
    cells, accuracy = _complete_comparators(data), by_seed(data, "test_accuracy")
    factors = _factors(data, cells)
    tied = [name for name in dict.fromkeys([*SETTINGS, *data.info["roles"]]) if name not in factors]
    effects = []
    for factor in factors:
        others = [name for name in factors if name != factor]
        baseline, *values = sorted(cells[factor].unique())
        for value in values:
            pairs = _pairs(cells, factor, baseline, value, others)
            if pairs:
                along = tuple(name for name in tied if any(one[name] != base[name] for one, base in pairs))
                gains = [accuracy.loc[one["cell_id"]] - accuracy.loc[base["cell_id"]] for one, base in pairs]
                mean = np.mean([gain.to_numpy(float) for gain in gains], axis=0)
                effects.append(Effect(factor, value, baseline, along, len(pairs), estimate(mean, rng)))
    return tuple(effects)


def _complete_comparators(data: StudyData) -> pd.DataFrame:
    cells = summarise_cells(data)
    return cells[(cells["model"] == "comparator") & (cells["state"] == "complete")]


def _factors(data: StudyData, cells: pd.DataFrame) -> list[str]:
    """Return the factors that vary among the cells and are not set by a rule."""
    return [name for name, role in data.info["roles"].items() if role != "fixed" and cells[name].nunique() > 1]


def _pairs(
    cells: pd.DataFrame, factor: str, baseline: Any, value: Any, others: list[str]
) -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """Return the cells with the value, each with the one that has the baseline and else the same factors."""
    bases = {tuple(row[name] for name in others): row for row in matching(cells, {factor: baseline}).to_dict("records")}
    rows = matching(cells, {factor: value}).to_dict("records")
    keys = [tuple(row[name] for name in others) for row in rows]
    return [(row, bases[key]) for row, key in zip(rows, keys, strict=True) if key in bases]


@dataclass(frozen=True)
class AnovaRow:
    """A term of the analysis of variance; sums of squares are of fractions. The residual has no F, p and eta."""

    term: str
    df: int
    sum_sq: float
    f: float | None
    p: float | None
    partial_eta_sq: float | None


@dataclass(frozen=True)
class Anova:
    """An analysis of variance over ``n`` trainings; without rows, ``note`` says why."""

    rows: tuple[AnovaRow, ...]
    n: int
    note: str


def anova_data(data: StudyData) -> Anova:
    """Fit test accuracy by the factors, their interactions in pairs, and the seed as a block; type II sums of squares.

    Only complete comparator cells have a part, and only if they are all of the factors' combinations: with holes, an
    interaction may not be told from its factors.
    """
    cells, accuracy = _complete_comparators(data), by_seed(data, "test_accuracy")
    factors, seeds = _factors(data, cells), len(data.info["seeds"])
    crossings = int(np.prod([cells[name].nunique() for name in factors])) if factors else 0
    if not factors or seeds < 2:
        return Anova((), 0, "An analysis of variance needs a factor with two values and two seeds.")
    if crossings != len(cells):
        return Anova(
            (),
            0,
            f"No analysis of variance: of {crossings} combinations of {', '.join(factors)}, {len(cells)} are "
            "complete; it needs all of them, and so a grid that crosses its factors, run with --scheduler none.",
        )
    rows = accuracy.loc[cells["cell_id"]].rename_axis(index="cell_id").reset_index()
    rows = rows.melt("cell_id", var_name="seed", value_name="accuracy")
    rows = rows.merge(cells[["cell_id", *factors]], on="cell_id")
    terms = [f"C({name})" for name in factors]
    formula = " + ".join([*terms, *(f"{a}:{b}" for a, b in combinations(terms, 2)), "C(seed)"])
    table = anova_lm(smf.ols(f"accuracy ~ {formula}", rows).fit(), typ=2)
    residual = float(table.loc["Residual", "sum_sq"])
    return Anova(tuple(_anova_row(str(term), row, residual) for term, row in table.iterrows()), len(rows), "")


def _anova_row(term: str, row: pd.Series, residual: float) -> AnovaRow:
    name = term.replace("C(", "").replace(")", "").replace(":", " x ").replace("_", " ").replace("Residual", "residual")
    df, sum_sq = round(float(row["df"])), float(row["sum_sq"])
    if term == "Residual":
        return AnovaRow(name, df, sum_sq, None, None, None)
    return AnovaRow(name, df, sum_sq, float(row["F"]), float(row["PR(>F)"]), sum_sq / (sum_sq + residual))


def contrasts_sheet(contrasts: Sequence[Contrast]) -> Sheet:
    """List the comparisons that the grid named in advance."""
    rows = []
    for contrast in contrasts:
        found = contrast.estimate
        row: dict[str, Any] = {"name": contrast.name, "state": contrast.state, "n": found.n if found else None}
        for field in ("mean", "std", "low", "high", "bca_low", "bca_high"):
            row[field] = getattr(found, field) if found else None
        row |= {"p": contrast.p, "p_holm": contrast.p_holm}
        for side in ("plus", "minus"):
            row[side] = " ".join(cell["cell_id"] for cell in getattr(contrast, side))
        rows.append(row)
    return Sheet(
        name="contrasts",
        title="Contrasts named in advance",
        caption=(
            "Differences of test accuracy in points, paired by seed, with 95 % t intervals; p of the paired t test, as "
            "it is and corrected for the number of contrasts (Holm)."
        ),
        columns=(
            Column("contrast", lambda row: row["name"]),
            Column("points", lambda row: percent(row["mean"], sign=True), numeric=True),
            Column("95 % interval", lambda row: interval(row["low"], row["high"], sign=True), numeric=True),
            Column("p", lambda row: probability(row["p"]), numeric=True),
            Column("p, Holm", lambda row: probability(row["p_holm"]), numeric=True),
            Column("n", lambda row: row["state"] if row["n"] is None else str(row["n"]), numeric=True),
        ),
        rows=tuple(rows),
    )


def effects_sheet(effects: Sequence[Effect]) -> Sheet:
    """List what each value of each factor brings on average."""
    rows = [
        {"factor": e.factor, "value": e.value, "baseline": e.baseline, "along": " ".join(e.along), "pairs": e.pairs}
        | {field: getattr(e.estimate, field) for field in ("n", "mean", "std", "low", "high", "bca_low", "bca_high")}
        for e in effects
    ]
    return Sheet(
        name="effects",
        title="Main effects",
        caption=(
            "What a value of a factor brings over its first one, in points of test accuracy: the mean over all pairs "
            "of complete comparator cells that differ in nothing else but what changes along, paired by seed, with "
            "95 % t intervals, not corrected for their number."
        ),
        columns=(
            Column("factor", lambda row: row["factor"].replace("_", " ")),
            Column("value", lambda row: format_setting(row["value"])),
            Column("over", lambda row: format_setting(row["baseline"])),
            Column("changes along", lambda row: row["along"].replace("_", " ")),
            Column("points", lambda row: percent(row["mean"], sign=True), numeric=True),
            Column("95 % interval", lambda row: interval(row["low"], row["high"], sign=True), numeric=True),
            Column("pairs of cells", lambda row: str(row["pairs"]), numeric=True),
            Column("n", lambda row: str(row["n"]), numeric=True),
        ),
        rows=tuple(rows),
    )


def anova_sheet(anova: Anova) -> Sheet:
    """Show the analysis of variance."""
    return Sheet(
        name="anova",
        title="Analysis of variance",
        caption=(
            f"Test accuracy of {anova.n} comparator trainings by the factors, their interactions in pairs, and the "
            "seed as a block; type II sums of squares, in squared points."
        ),
        columns=(
            Column("term", lambda row: row["term"]),
            Column("df", lambda row: str(row["df"]), numeric=True),
            Column("sum of squares", lambda row: f"{10_000 * row['sum_sq']:.1f}", numeric=True),
            Column("F", lambda row: "" if row["f"] is None else f"{row['f']:.1f}", numeric=True),
            Column("p", lambda row: probability(row["p"]), numeric=True),
            Column("partial η²", lambda row: _share(row["partial_eta_sq"]), numeric=True),
        ),
        rows=tuple(asdict(row) for row in anova.rows),
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
