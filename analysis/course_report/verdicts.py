"""Each claim of the course report compared with a study, and judged by a written rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.course_report.claims import CLAIMS, Claim
from analysis.load import StudyData
from analysis.output.sheet import percent
from analysis.statistics.cells import by_seed, describe_states, summarise_cells
from analysis.statistics.inference import Estimate, Measure, Values, estimate, holm, paired_p
from analysis.statistics.selection import best_cell, matching

PRECISION = 0.02  # a mean that is known less well than this agrees with almost any claim
ONE_SEED = "one seed has no spread"
NO_SPREAD = "the report gives no spread"
RULE = (
    "A figure is reproduced if the 95 % interval of measured minus reported contains zero and the measured mean is "
    f"known to within {100 * PRECISION:g} points. For a gain, its own interval must also lie above zero.",
    "A figure is not reproduced if the interval of measured minus reported does not contain zero, or if a gain's own "
    "interval lies below zero. Everything else is undecided at this n.",
    "The interval of measured minus reported is Welch's: it uses the spread and n of both sides. A gain is measured in "
    "pairs, seed by seed. If the report gives a figure without a spread, the figure is compared with the 95 % range of "
    "a single training; a gain without a spread is compared with zero.",
    "The best weight is compared with every other weight by paired t tests with Holm's correction.",
    "A gain is confounded if its cells differ in a setting that the claim does not name.",
    "The intervals are not corrected for the number of claims: of twenty true claims, about one will look wrong.",
)


@dataclass(frozen=True)
class Finding:
    """What a study says of a claim. Accuracies and gains are fractions, weights are weights.

    ``verdict`` is ``reproduced``, ``not reproduced``, ``undecided`` or ``not measured``; ``note`` says
    why. ``measured`` is None if the study lacks the cells; for a best weight only its mean, the weight
    found best, is a number. ``low`` and ``high`` are the ends of the interval of measured minus
    reported. ``confounded_with`` names other settings in which the cells of a gain differ.
    """

    claim: Claim
    verdict: str
    note: str = ""
    measured: Estimate | None = None
    low: float | None = None
    high: float | None = None
    confounded_with: tuple[str, ...] = ()

    @property
    def verdict_in_words(self) -> str:
        """The verdict, with the settings that it is confounded with."""
        if not self.confounded_with or self.measured is None:
            return self.verdict
        names = " and ".join(name.replace("_", " ") for name in self.confounded_with)
        return f"{self.verdict}, but confounded with {names}"


@dataclass(frozen=True)
class _Cells:
    """The cells of a study, and their accuracies by seed."""

    cells: pd.DataFrame
    accuracies: Mapping[str, pd.DataFrame]
    settings: Sequence[str]

    def choose(self, condition: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """Return the cell that the condition stands for, or None and why there is none."""
        candidates = matching(self.cells, condition)
        best = best_cell(candidates)
        return best, describe_states(candidates) if best is None else ""

    def values(self, cell: Mapping[str, Any], metric: str) -> Values:
        """Return the metric of a cell by seed ``[n]``, fractions."""
        return np.asarray(self.accuracies[metric].loc[cell["cell_id"]], float)


def findings_data(data: StudyData) -> tuple[Finding, ...]:
    """Judge every claim by the complete cells."""
    metrics = {claim.metric for claim in CLAIMS}
    accuracies = {metric: by_seed(data, metric) for metric in metrics}
    cells = _Cells(summarise_cells(data), accuracies, data.settings)
    return tuple(_finding(claim, cells) for claim in CLAIMS)


def _finding(claim: Claim, cells: _Cells) -> Finding:
    if claim.kind == "best weight":
        return _best_weight(claim, cells)
    cell, why = cells.choose(claim.cell)
    if cell is None:
        return Finding(claim, "not measured", why)
    values = cells.values(cell, claim.metric)
    if np.isnan(values).any():
        return Finding(claim, "not measured", f"the study has no {claim.metric.replace('_', ' ')}")
    confounded_with: tuple[str, ...] = ()
    if claim.than is not None:
        than, why = cells.choose(claim.than)
        if than is None:
            return Finding(claim, "not measured", why)
        values = values - cells.values(than, claim.metric)
        unnamed = [name for name in cells.settings if name not in claim.varies]
        confounded_with = tuple(name for name in unnamed if cell[name] != than[name])

    measured = estimate(values)
    if measured.n < 2:
        finding = Finding(claim, "undecided", ONE_SEED, measured)
    else:
        finding = _above(claim, measured) if claim.kind == "above" else _judged(claim, measured)
    return replace(finding, confounded_with=confounded_with)


def _less_reported(claim: Claim, measured: Estimate) -> tuple[float, float]:
    """Return the ends of the interval of an accuracy or a gain minus what is reported."""
    mine = Measure.of(measured.mean, measured.std, measured.n)
    if claim.spread:
        reported, *worse = [entry.measure for entry in claim.spread]
        # The report's gain is a difference of two independent means; the study's is paired.
        for other in worse:
            reported = replace(reported - other, mean=claim.reported)
        return (mine - reported).ends
    if claim.kind == "gain":
        return measured.low, measured.high
    # Without a spread, the report's figure is taken as the result of one more training.
    reach = stats.t.ppf(0.975, mine.df) * measured.std * sqrt(1 + 1 / measured.n)
    return measured.mean - reach - claim.reported, measured.mean + reach - claim.reported


def _judged(claim: Claim, measured: Estimate) -> Finding:
    """Judge an accuracy or a gain by RULE."""
    low, high = _less_reported(claim, measured)
    gain = claim.kind == "gain"
    # A gain that the report gives without a spread is judged by its direction only.
    sized = not gain or claim.spread
    reach = measured.high - measured.mean
    if gain and measured.high < 0:
        verdict, reason = "not reproduced", "a loss instead of a gain"
    elif sized and not low <= 0 <= high:
        difference = measured.mean - claim.reported
        more, less = ("more", "less") if gain else ("higher", "lower")
        direction = more if difference > 0 else less
        verdict, reason = "not reproduced", f"{percent(abs(difference))} points {direction} than reported"
    elif gain and measured.low <= 0:
        verdict, reason = "undecided", "the gain's interval contains zero"
    elif reach > PRECISION:
        verdict, reason = "undecided", f"known no better than to {percent(reach)} points"
    else:
        verdict, reason = "reproduced", ""
    note = "; ".join(filter(None, (reason, "" if claim.spread else NO_SPREAD)))
    return Finding(claim, verdict, note, measured, low, high)


def _above(claim: Claim, measured: Estimate) -> Finding:
    low, high = measured.low - claim.reported, measured.high - claim.reported
    # Here the report's figure is a goal: a mean far above it is no disagreement.
    verdict = "reproduced" if low > 0 else "not reproduced" if high < 0 else "undecided"
    return Finding(claim, verdict, "", measured, low, high)


def _best_weight(claim: Claim, cells: _Cells) -> Finding:
    """Judge by the paired lead over each other weight."""
    candidates = matching(cells.cells, claim.cell)
    values: dict[float, Values] = {}
    absent = []
    for weight in sorted(set(candidates["aux_weight"].tolist())):
        if (cell := best_cell(matching(candidates, {"aux_weight": weight}))) is None:
            absent.append(weight)
        else:
            values[weight] = cells.values(cell, claim.metric)
    if claim.value not in values or len(values) < 2:
        note = f"expected weight {claim.value:g} and others, found {len(values)} complete"
        return Finding(claim, "not measured", note)

    # The weight that is best in this study stands in the place of the mean.
    means = {weight: float(accuracies.mean()) for weight, accuracies in values.items()}
    best = max(means, key=means.__getitem__)
    measured = Estimate(len(values[best]), best, *[float("nan")] * 3)
    if measured.n < 2:
        return Finding(claim, "undecided", ONE_SEED, measured)

    # A rival counts as better or worse only if its corrected p value says so.
    rivals = [weight for weight in values if weight != claim.value]
    p_values = holm([paired_p(values[claim.value] - values[rival]) for rival in rivals])
    alike, better = [], []
    for rival, p in zip(rivals, p_values, strict=True):
        if p >= 0.05:
            alike.append(rival)
        elif means[rival] > means[claim.value]:
            better.append(rival)

    verdict, notes = "reproduced", []
    if better:
        verdict, notes = "not reproduced", [f"better: {_listed(better)}"]
    elif alike:
        verdict, notes = "undecided", [f"not told apart from {_listed(alike)}"]
    if absent:
        notes.append(f"not complete: {_listed(absent)}")
    return Finding(claim, verdict, "; ".join(notes), measured)


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(map("{:g}".format, weights))
