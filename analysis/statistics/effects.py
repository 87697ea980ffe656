"""What the factors do: contrasts named before the run, main effects, and an analysis of variance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent, probability
from analysis.statistics.cells import by_seed, describe_settings, describe_state, format_setting, summarise_cells
from analysis.statistics.intervals import Estimate, Values, estimate, holm, paired_p
from analysis.statistics.selection import best_cell, matching


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
    found = [_contrast(contrast, cells, accuracy, rng) for contrast in data.info.contrasts]
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

    The mean over all ``pairs`` of complete cells that differ in this factor, and ``along`` it in what is
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
    cells, accuracy = _compared(data), by_seed(data, "test_accuracy")
    factors = _factors(data, cells)
    tied = [name for name in data.settings if name not in factors]
    effects = []
    for factor in factors:
        others = [name for name in factors if name != factor]
        baseline, *values = sorted(cells[factor].unique())
        for value in values:
            ones, bases = _pairs(cells, factor, baseline, value, others)
            if len(ones):
                along = tuple(name for name in tied if (ones[name].to_numpy() != bases[name].to_numpy()).any())
                better, worse = (accuracy.loc[side["cell_id"]].to_numpy(float) for side in (ones, bases))
                mean = np.ascontiguousarray(better - worse).mean(axis=0)  # added up in the order of the cells
                effects.append(Effect(factor, value, baseline, along, len(ones), estimate(mean, rng)))
    return tuple(effects)


def _compared(data: StudyData) -> pd.DataFrame:
    """Return the complete cells of the model that most cells have, or of all models where two have as many."""
    cells = summarise_cells(data)
    counts = cells["model"].value_counts()
    most = counts.index[counts == counts.max()]
    return cells[(cells["model"].isin(most if len(most) == 1 else counts.index)) & (cells["state"] == "complete")]


def _factors(data: StudyData, cells: pd.DataFrame) -> list[str]:
    """Return the factors that vary among the cells and are not set by a rule."""
    return [name for name, role in data.info.roles.items() if role != "fixed" and cells[name].nunique() > 1]


def _pairs(
    cells: pd.DataFrame, factor: str, baseline: Any, value: Any, others: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells with the value, and row by row those that have the baseline and else the same factors."""
    key = [*others, "n_planned"]  # which is the same for all: without other factors, every cell has the same key
    keys = cells[[factor, *key]].assign(at=cells.index)
    bases = matching(keys, {factor: baseline}).drop_duplicates(key, keep="last")
    found = matching(keys, {factor: value}).merge(bases, on=key, suffixes=("", "_base"))
    return cells.loc[found["at"]], cells.loc[found["at_base"]]


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

    Only complete cells have a part, and only if they are all of the factors' combinations: with holes, an
    interaction may not be told from its factors.
    """
    cells, accuracy = _compared(data), by_seed(data, "test_accuracy")
    factors, seeds = _factors(data, cells), len(data.info.seeds)
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
    ordered = cells.sort_values(factors)["cell_id"]
    values = accuracy.loc[ordered].to_numpy(float).reshape(*(cells[name].nunique() for name in factors), seeds)
    return Anova(_anova_rows(values, factors), values.size, "")


def _anova_rows(values: Values, factors: Sequence[str]) -> tuple[AnovaRow, ...]:
    """Divide the sum of squares of ``values`` ``[levels of each factor, seeds]``.

    In a complete crossing the terms are orthogonal, so that each one's sum of squares is that of its own effects,
    whatever else is fitted (Scheffe, The Analysis of Variance, 1959, chapter 4), and no design matrix is needed.
    """
    words = [name.replace("_", " ") for name in (*factors, "seed")]
    mains = {axis: _margin(values, (axis,)) - values.mean() for axis in range(values.ndim)}
    effects = {words[axis]: effect for axis, effect in mains.items()}
    for a, b in combinations(range(values.ndim - 1), 2):
        effects[f"{words[a]} x {words[b]}"] = _margin(values, (a, b)) - values.mean() - mains[a] - mains[b]
    left = values - values.mean() - sum(effects.values())
    df = {term: int(np.prod([size - 1 for size in effect.shape if size > 1])) for term, effect in effects.items()}
    left_df, left_sq = values.size - 1 - sum(df.values()), np.square(left).sum()
    rows = []
    for term, effect in effects.items():
        sum_sq = np.square(effect).sum() * (values.size // effect.size)
        with np.errstate(divide="ignore", invalid="ignore"):  # where no seed differs from another
            f, share = (sum_sq / df[term]) / (left_sq / left_df), sum_sq / (sum_sq + left_sq)
        p = float(stats.f.sf(f, df[term], left_df))
        rows.append(AnovaRow(term, df[term], float(sum_sq), float(f), p, float(share)))
    return (*rows, AnovaRow("residual", left_df, float(left_sq), None, None, None))


def _margin(values: Values, axes: tuple[int, ...]) -> Values:
    """Return the means over all axes but these, which keep their places."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    return np.asarray(values.mean(axis=others, keepdims=True))


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
            "of complete cells, of the model that most have, that differ in nothing else but what changes along, "
            "paired by seed, with 95 % t intervals, not corrected for their number."
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
            f"Test accuracy of {anova.n} trainings by the factors, their interactions in pairs, and the "
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
