"""Each claim of the course report compared with a study, and judged by a written rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from analysis.course_report.best_weight import not_worse
from analysis.course_report.claims import CLAIMS, Claim
from analysis.course_report.draw import POOLS, draws
from analysis.course_report.reported import AUX_WEIGHT_CURVES, unlike_in_words
from analysis.load import StudyData
from analysis.output.sheet import percent
from analysis.statistics.cells import by_seed, describe_states, summarise_cells
from analysis.statistics.inference import Estimate, Measure, Values, estimate
from analysis.statistics.selection import best_cell, matching

# Less than every gain that the report claims. Since the report drew its pairs once, an entry of
# Table I can hardly be shown to agree within 2 points, with any number of seeds.
MARGIN = 0.03
WEIGHTS = tuple(AUX_WEIGHT_CURVES[True])  # that the report compared
CONTRADICTED, AGREES, COMPATIBLE = "contradicted", "agrees", "compatible"
UNDECIDED, NOT_MEASURED = "undecided", "not measured"
OTHERWISE = "trained otherwise"
WITHIN = {AGREES: f" within {100 * MARGIN:g} points"}
ONE_SEED = "one seed has no spread"
NO_SPREAD = "the report gives no spread"
RULE = (
    "Contradicted: the 95 % interval of measured minus reported leaves zero out. Agrees: it does not, and the 90 % "
    f"interval lies within ±{100 * MARGIN:g} points, a margin named in advance; a gain must also have its own "
    "95 % interval above zero. Compatible: neither; the claim may be true, and is known to ±half of the 95 % interval.",
    "The interval is about new data: it has the spread and n of both sides, and what one draw of the pairs adds, since "
    "the report's rounds share one. A figure without a spread is taken as that of a single training.",
    "The goal is judged by the measured interval. The best weight is judged only if all weights that the report "
    "compared are complete, by those that are not worse than the best (Hsu's comparison with the best).",
    "A gain is confounded if its cells differ in a setting that the claim does not name. The gains, the goal and the "
    "best weights are made of the same cells as Table I, so they are no further evidence. Nothing is corrected for "
    "the number of claims. docs/statistics.md has the sources and the error rates.",
)


@dataclass(frozen=True)
class Finding:
    """What a study says of a claim. Accuracies and gains are fractions.

    ``verdict`` is one of the five words above; ``note`` says why. ``measured`` is None if the study lacks the
    cells, and has only an n for a best weight. ``difference`` is measured minus reported. ``confounded_with``
    names other settings in which the cells of a gain differ.
    """

    claim: Claim
    verdict: str
    note: str = ""
    measured: Estimate | None = None
    difference: Measure | None = None
    confounded_with: tuple[str, ...] = ()

    @property
    def known_to(self) -> float | None:
        """Half of the 95 % interval of measured minus reported."""
        return None if self.difference is None else self.difference.reach()

    @property
    def verdict_in_words(self) -> str:
        """The verdict, how well the claim is known, and the settings that it is confounded with."""
        words = self.verdict
        if self.claim.kind in ("accuracy", "gain"):
            words += WITHIN.get(self.verdict, "")
            if self.verdict == COMPATIBLE:
                words += f", known to ±{percent(self.known_to)} points"
        if self.confounded_with and self.measured is not None:
            names = " and ".join(name.replace("_", " ") for name in self.confounded_with)
            words += f", but confounded with {names}"
        return words


def judge(difference: Measure) -> str:
    """Return the verdict on measured minus reported, by the first paragraph of RULE."""
    if abs(difference.mean) > difference.reach():
        return CONTRADICTED
    # Two one-sided tests at 5 % (Schuirmann, 1987) are the 90 % interval within the margin.
    return AGREES if abs(difference.mean) + difference.reach(0.90) < MARGIN else COMPATIBLE


def difference_from_report(claim: Claim, measured: Estimate, source: str) -> Measure:
    """Return measured minus reported, of n at least 2 seeds, with what the draws of the pairs add.

    ``source`` is where the study's digits come from.
    """
    found = Measure.of(measured.mean, measured.std, measured.n)
    pool = POOLS.get(source, 0.0)
    if claim.kind == "above":
        count = pool
    elif claim.spread:
        count = 1 + pool
        for entry in claim.spread:
            found = found - entry.measure
    else:
        # A single training has its own draw, but on a part of MNIST not that of the part.
        count = 2 * pool
        found = replace(found, se=measured.std * sqrt(1 + 1 / measured.n))
    if count:
        found = found - draws(count, claim.kind == "gain", claim.reported)
    return replace(found, mean=measured.mean - claim.reported)


@dataclass(frozen=True)
class _Cells:
    """The cells of a study, with how each was trained unlike the report, and their accuracies by seed."""

    cells: pd.DataFrame
    accuracies: Mapping[str, pd.DataFrame]
    settings: Sequence[str]

    def choose(self, condition: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """Return the cell that the condition stands for, or None and why there is none."""
        candidates = matching(self.cells, condition)
        alike = candidates[candidates["unlike"] == ""]
        if alike.empty and len(candidates):
            return None, f"{OTHERWISE}: {candidates['unlike'].iloc[0]}"
        best = best_cell(alike)
        return best, describe_states(alike) if best is None else ""

    def values(self, cell: Mapping[str, Any], metric: str) -> Values:
        """Return the metric of a cell by seed ``[n]``, fractions."""
        return np.asarray(self.accuracies[metric].loc[cell["cell_id"]], float)


def findings_data(data: StudyData) -> tuple[Finding, ...]:
    """Judge every claim by the complete cells."""
    accuracies = {claim.metric: by_seed(data, claim.metric) for claim in CLAIMS}
    table = summarise_cells(data)
    table["unlike"] = list(map(unlike_in_words, data.info.cells))
    cells = _Cells(table, accuracies, data.settings)
    return tuple(_finding(claim, cells) for claim in CLAIMS)


def _finding(claim: Claim, cells: _Cells) -> Finding:
    if claim.kind == "best weight":
        return _best_weight(claim, cells)
    cell, why = cells.choose(claim.cell)
    if cell is None:
        return Finding(claim, NOT_MEASURED, why)
    values = cells.values(cell, claim.metric)
    if np.isnan(values).any():
        return Finding(claim, NOT_MEASURED, f"the study has no {claim.metric.replace('_', ' ')}")
    confounded_with: tuple[str, ...] = ()
    if claim.than is not None:
        than, why = cells.choose(claim.than)
        if than is None:
            return Finding(claim, NOT_MEASURED, why)
        values = values - cells.values(than, claim.metric)
        unnamed = [name for name in cells.settings if name not in claim.varies]
        confounded_with = tuple(name for name in unnamed if cell[name] != than[name])

    measured = estimate(values)
    if measured.n < 2:
        finding = Finding(claim, UNDECIDED, ONE_SEED, measured)
    else:
        finding = _judged(claim, measured, str(cell.get("data", "")))
    return replace(finding, confounded_with=confounded_with)


def _judged(claim: Claim, measured: Estimate, source: str) -> Finding:
    """Judge an accuracy, a gain or the goal by RULE."""
    difference = difference_from_report(claim, measured, source)
    distance = abs(difference.mean)
    reason = ""
    if claim.kind == "above":
        # Here the report's figure is a goal: a mean far above it is no disagreement.
        decided = AGREES if difference.mean > 0 else CONTRADICTED
        verdict = decided if distance > difference.reach() else COMPATIBLE
    else:
        verdict = judge(difference)
        if verdict == CONTRADICTED:
            reason = f"{percent(distance)} points {'more' if difference.mean > 0 else 'less'} than reported"
        elif claim.kind == "gain" and measured.low <= 0:
            verdict, reason = COMPATIBLE, "its own interval does not lie above zero"
    spread = "" if claim.spread or claim.kind == "above" else NO_SPREAD
    return Finding(claim, verdict, "; ".join(filter(None, (reason, spread))), measured, difference)


def _best_weight(claim: Claim, cells: _Cells) -> Finding:
    """Judge by the weights that are not worse than the best, of those that the report compared."""
    chosen = {weight: cells.choose({**claim.cell, "aux_weight": weight}) for weight in WEIGHTS}
    absent = [weight for weight, (cell, _) in chosen.items() if cell is None]
    if absent:
        return Finding(claim, NOT_MEASURED, f"not complete: {_listed(absent)}")
    values = np.array([cells.values(cell, claim.metric) for cell, _ in chosen.values() if cell is not None])
    measured = Estimate(values.shape[1], *[float("nan")] * 4)
    if measured.n < 2:
        return Finding(claim, UNDECIDED, ONE_SEED, measured)
    weights = tuple(np.array(WEIGHTS)[not_worse(values)].tolist())
    verdict = COMPATIBLE if claim.value in weights else CONTRADICTED
    if weights == (claim.value,):
        verdict = AGREES
    return Finding(claim, verdict, f"not worse than the best: {_listed(weights)}", measured)


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(map("{:g}".format, weights))
