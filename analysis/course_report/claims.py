"""Each claim of the report held against a study: the measured figure, its interval, and a verdict by a written rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table
from scipy import stats

from analysis.course_report.reported import CLAIMS, Claim
from analysis.load import StudyData
from analysis.output.formats import sheet_rich
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_state, summarise_cells
from analysis.statistics.intervals import Estimate, Measure, compare, estimate, holm, paired_p
from analysis.statistics.selection import best_cell, matching

PRECISION = 0.02  # what is known no better than this, either way, agrees with almost anything
RULE = (
    "A figure is reproduced where the 95 % interval of measured less reported contains zero, and the measured mean is "
    f"known to {100 * PRECISION:g} points either way; a gain's own interval must also lie above zero.",
    "It is not reproduced where the first interval leaves zero out, or where a gain's lies below zero. All else is "
    "undecided at this n.",
    "The interval of measured less reported is Welch's, from both spreads and ns. A gain is measured in pairs, seed by "
    "seed. A figure that the report gives without spread is held against the 95 % range of a single training, a gain "
    "without one against zero.",
    "The best weight is told from every other by paired t tests, Holm-corrected.",
    "A gain is confounded where its cells differ in a setting that the claim does not name.",
    "The intervals are not corrected for the number of claims: of twenty true ones, about one will look wrong.",
)


@dataclass(frozen=True)
class Finding:
    """A claim held against a study. Accuracies and gains are fractions, weights are weights.

    ``low`` and ``high`` are the ends of the interval that the verdict went by, of measured less reported. The verdict
    is ``reproduced``, ``not reproduced``, ``undecided`` or ``not measured``; ``note`` gives its reason in words.
    ``confounded_with`` names settings in which the cells of a gain differ and which the claim does not name.
    ``measured`` is None where no cell tells; of a best weight only its mean, the weight found best, is a number.
    """

    key: str
    claim: str
    kind: str
    reported: float
    reported_std: float | None
    reported_n: int | None
    measured: Estimate | None
    low: float | None
    high: float | None
    verdict: str
    confounded_with: tuple[str, ...]
    note: str

    @property
    def verdict_in_words(self) -> str:
        """The verdict, with what it is confounded with."""
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

    def values(self, cell: Mapping[str, Any], metric: str = "test_accuracy") -> Any:
        return self.accuracies[metric].loc[cell["cell_id"]].to_numpy(float)


def findings_data(data: StudyData, rng: np.random.Generator) -> tuple[Finding, ...]:
    """Judge every claim by the study's complete cells; ``rng`` draws the bootstrap intervals."""
    metrics = {claim.metric for claim in CLAIMS} | {"test_accuracy"}
    cells = _Cells(summarise_cells(data), {metric: by_seed(data, metric) for metric in metrics}, data.settings)
    judges = {"accuracy": _accuracy, "gain": _gain, "above": _above, "best weight": _best_weight}
    return tuple(judges[claim.kind](claim, cells, rng) for claim in CLAIMS)


def _unmeasured(claim: Claim, note: str) -> Finding:
    std = claim.spread[0].std / 100 if len(claim.spread) == 1 else None
    n = claim.spread[0].n if claim.spread else None
    value = claim.value if claim.kind == "best weight" else claim.value / 100
    return Finding(claim.key, claim.text, claim.kind, value, std, n, None, None, None, "not measured", (), note)


def _chosen(claim: Claim, condition: Mapping[str, Any], cells: _Cells) -> tuple[dict[str, Any] | None, str]:
    """Return the cell that the condition stands for, or None and why there is none."""
    candidates = matching(cells.cells, condition)
    best = best_cell(candidates)
    if best is not None:
        return best, ""
    states = dict.fromkeys(describe_state(cell) for cell in candidates.to_dict("records"))
    return None, "; ".join(states) or "not in this study"


def _accuracy(claim: Claim, cells: _Cells, rng: np.random.Generator) -> Finding:
    cell, why = _chosen(claim, claim.cell, cells)
    if cell is None:
        return _unmeasured(claim, why)
    blank = _unmeasured(claim, "")
    values = cells.values(cell, claim.metric)
    if np.isnan(values).any():
        return _unmeasured(claim, f"the study has no {claim.metric.replace('_', ' ')}")
    measured = estimate(values, rng)
    if len(values) < 2:
        return replace(blank, measured=measured, verdict="undecided", note="one seed has no spread")
    mine = Measure.of(measured.mean, measured.std, measured.n)
    if claim.spread:
        reported = claim.spread[0]
        _, low, high = compare(mine, Measure.of(reported.mean / 100, reported.std / 100, reported.n))
        note = ""
    else:
        reach = stats.t.ppf(0.975, mine.df) * measured.std * sqrt(1 + 1 / measured.n)
        low, high = measured.mean - reach - blank.reported, measured.mean + reach - blank.reported
        note = "the report gives no spread"
    return _judged(replace(blank, note=note), measured, low, high)


def _gain(claim: Claim, cells: _Cells, rng: np.random.Generator) -> Finding:
    (cell, why), (than, why_than) = (_chosen(claim, c, cells) for c in (claim.cell, claim.than or {}))
    if cell is None or than is None:
        return _unmeasured(claim, why or why_than)
    measured = estimate(cells.values(cell) - cells.values(than), rng)
    blank = replace(
        _unmeasured(claim, ""),
        measured=measured,
        confounded_with=tuple(name for name in cells.settings if cell[name] != than[name] and name not in claim.varies),
    )
    if measured.n < 2:
        return replace(blank, verdict="undecided", note="one seed has no spread")
    if not claim.spread:
        return _judged(replace(blank, note="the report gives no spread"), measured, measured.low, measured.high)
    better, worse = (Measure.of(entry.mean / 100, entry.std / 100, entry.n) for entry in claim.spread)
    mine = Measure(measured.mean, measured.std / sqrt(measured.n), measured.n - 1)
    _, low, high = compare(mine, replace(better - worse, mean=blank.reported))
    return _judged(blank, measured, low, high)


def _judged(finding: Finding, measured: Estimate, low: float, high: float) -> Finding:
    """Give the verdict on an accuracy or a gain by RULE, and its reason; ``low`` and ``high`` are as in Finding."""
    gain = finding.kind == "gain"
    sized = not gain or finding.reported_n is not None
    difference = measured.mean - finding.reported
    if gain and measured.high < 0:
        verdict, reason = "not reproduced", "a loss instead of a gain"
    elif sized and not low <= 0 <= high:
        more, less = ("more", "less") if gain else ("higher", "lower")
        amount = f"{percent(abs(difference))} points {more if difference > 0 else less}"
        verdict, reason = "not reproduced", f"{amount} than reported"
    elif gain and measured.low <= 0:
        verdict, reason = "undecided", "the gain's interval contains zero"
    elif measured.high - measured.mean > PRECISION:
        verdict, reason = "undecided", f"known no better than to {percent(measured.high - measured.mean)} points"
    else:
        verdict, reason = "reproduced", ""
    note = "; ".join(filter(None, (reason, finding.note)))
    return replace(finding, measured=measured, low=low, high=high, verdict=verdict, note=note)


def _above(claim: Claim, cells: _Cells, rng: np.random.Generator) -> Finding:
    cell, why = _chosen(claim, claim.cell, cells)
    if cell is None:
        return _unmeasured(claim, why)
    measured = estimate(cells.values(cell), rng)
    blank = _unmeasured(claim, "")
    if measured.n < 2:
        return replace(blank, measured=measured, verdict="undecided", note="one seed has no spread")
    low, high = measured.low - blank.reported, measured.high - blank.reported
    verdict = "reproduced" if low > 0 else "not reproduced" if high < 0 else "undecided"
    return replace(blank, measured=measured, low=low, high=high, verdict=verdict)


def _best_weight(claim: Claim, cells: _Cells, rng: np.random.Generator) -> Finding:
    """Judge by the best weight's paired lead over each other; ``rng`` is not needed."""
    candidates = matching(cells.cells, claim.cell)
    weights = sorted(set(candidates["aux_weight"].tolist()))
    chosen = {weight: best_cell(matching(candidates, {"aux_weight": weight})) for weight in weights}
    values = {weight: cells.values(cell) for weight, cell in chosen.items() if cell is not None}
    absent = [f"{weight:g}" for weight, cell in chosen.items() if cell is None]
    if claim.value not in values or len(values) < 2:
        return _unmeasured(claim, f"expected weight {claim.value:g} and others, found {len(values)} complete")
    means = {weight: float(accuracies.mean()) for weight, accuracies in values.items()}
    found = max(means, key=means.__getitem__)
    measured = Estimate(len(values[found]), found, *[float("nan")] * 5)
    blank = replace(_unmeasured(claim, ""), measured=measured)
    if measured.n < 2:
        return replace(blank, verdict="undecided", note="one seed has no spread")
    rivals = [weight for weight in values if weight != claim.value]
    leads = [values[claim.value] - values[weight] for weight in rivals]
    p_values = holm([paired_p(lead) for lead in leads])
    told = [weight for weight, p in zip(rivals, p_values, strict=True) if p < 0.05]
    better = [weight for weight in told if means[weight] > means[claim.value]]
    open_ = [f"{weight:g}" for weight in rivals if weight not in told]
    if better:
        verdict, note = "not reproduced", f"better: {', '.join(f'{weight:g}' for weight in better)}"
    elif open_:
        verdict, note = "undecided", f"not told apart from {', '.join(open_)}"
    else:
        verdict, note = "reproduced", ""
    if absent:
        note = "; ".join(filter(None, (note, f"not complete: {', '.join(absent)}")))
    return replace(blank, verdict=verdict, note=note)


def claims_sheet(findings: Sequence[Finding]) -> Sheet:
    """Put the findings into a table."""
    rows = []
    for finding in findings:
        measured = finding.measured
        row: dict[str, Any] = {"key": finding.key, "claim": finding.claim, "kind": finding.kind}
        row |= {"reported": finding.reported, "reported_std": finding.reported_std, "reported_n": finding.reported_n}
        for field in ("n", "mean", "std", "low", "high"):
            value = None if measured is None else getattr(measured, field)
            row[f"measured_{field}"] = None if value is None or value != value else value
        row |= {"less_reported_low": finding.low, "less_reported_high": finding.high, "verdict": finding.verdict}
        rows.append(row | {"confounded_with": " ".join(finding.confounded_with), "note": finding.note})
    words = {finding.key: finding.verdict_in_words for finding in findings}
    return Sheet(
        name="claims",
        title="The report's claims",
        caption="Percent, points or weights; measured mean with its 95 % t interval.",
        columns=(
            Column("claim", lambda row: row["claim"]),
            Column("reported", lambda row: _figure(row, row["reported"]), numeric=True),
            Column("measured", lambda row: _figure(row, row["measured_mean"]), numeric=True),
            Column("95 % interval", _ends, numeric=True),
            Column("n", lambda row: "" if row["measured_n"] is None else str(row["measured_n"]), numeric=True),
            Column("verdict", lambda row: words[row["key"]]),
            Column("why", lambda row: row["note"]),
        ),
        rows=tuple(rows),
        notes=RULE,
    )


def claims_rich(sheet: Sheet) -> Table:
    """Draw the measured ones of the claims for the screen, without the reasons; they fit 80 columns."""
    measured = tuple(place for place, row in enumerate(sheet.rows) if row["verdict"] != "not measured")
    others = f"; {len(sheet.rows) - len(measured)} more claims are not measured" * (len(measured) < len(sheet.rows))
    caption = f"{sheet.caption} The report on disk has the reasons, and the rule of the verdicts{others}."
    columns = tuple(column for column in sheet.columns if column.heading not in ("n", "why"))
    return sheet_rich(replace(sheet, columns=columns, caption=caption, shown=measured, notes=()))


def _figure(row: Mapping[str, Any], value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:g}" if row["kind"] == "best weight" else percent(value, sign=row["kind"] == "gain")


def _ends(row: Mapping[str, Any]) -> str:
    return interval(row["measured_low"], row["measured_high"], sign=row["kind"] == "gain")


def summarise(findings: Sequence[Finding]) -> list[str]:
    """Say in plain sentences what the verdicts come to."""
    judged = [finding for finding in findings if finding.verdict != "not measured"]
    if not judged:
        return ["This study has no complete cell that any claim of the report is about."]
    counts = [
        (sum(finding.verdict == verdict for finding in findings), verdict)
        for verdict in ("reproduced", "not reproduced", "undecided", "not measured")
    ]
    listed = ", ".join(f"{count} {verdict}" for count, verdict in counts if count)
    sentences = [f"Of {len(findings)} claims of the report: {listed}."]
    for finding in judged:
        if finding.kind == "gain" and finding.measured is not None:
            row = {"kind": "gain"}
            ends = interval(finding.measured.low, finding.measured.high, sign=True)
            sentences.append(
                f"{finding.claim} Measured: {_figure(row, finding.measured.mean)} (95 % interval {ends}, "
                f"n = {finding.measured.n}). {finding.verdict_in_words.capitalize()}."
            )
    for verdict in ("not reproduced", "undecided"):
        keys = [f"{f.key} ({f.note})" if f.note else f.key for f in judged if f.verdict == verdict and f.kind != "gain"]
        if keys:
            sentences.append(f"{verdict.capitalize()} besides: {'; '.join(keys)}.")
    return sentences
