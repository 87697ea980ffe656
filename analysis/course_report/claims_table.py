"""The claims and their verdicts as a table, on the screen, and in sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table

from analysis.course_report.claims import ENTRIES
from analysis.course_report.verdicts import (
    COMPATIBLE,
    CONTRADICTED,
    NOT_MEASURED,
    OTHERWISE,
    RULE,
    UNDECIDED,
    WITHIN,
    Finding,
)
from analysis.output.formats import sheet_rich
from analysis.output.sheet import Column, Sheet, interval, percent

SHARED = (
    "They share the report's one draw of pairs, so they move together. The gains, the goal and the best weights are "
    "made of the same cells, so they are not counted."
)


def claims_sheet(findings: Sequence[Finding]) -> Sheet:
    """Put the findings into a table."""
    words = {finding.claim.key: finding.verdict_in_words for finding in findings}
    return Sheet(
        name="claims",
        title="The report's claims",
        caption="Percent, points or weights; measured mean with its 95 % t interval.",
        columns=(
            Column("claim", lambda row: row["claim"]),
            Column("reported", lambda row: _figure(row["kind"], row["reported"]), numeric=True),
            Column("measured", lambda row: _figure(row["kind"], row["measured_mean"]), numeric=True),
            Column("95 % interval", _ends, numeric=True),
            Column("n", lambda row: "" if row["measured_n"] is None else str(row["measured_n"]), numeric=True),
            Column("verdict", lambda row: words[row["key"]]),
            Column("why", lambda row: row["note"]),
        ),
        rows=tuple(map(_row, findings)),
        notes=RULE,
    )


def _row(finding: Finding) -> dict[str, Any]:
    claim = finding.claim
    row: dict[str, Any] = {"key": claim.key, "claim": claim.text, "kind": claim.kind}
    # A gain's two entries have no common spread.
    std = claim.spread[0].std / 100 if len(claim.spread) == 1 else None
    row |= {"reported": claim.reported, "reported_std": std, "reported_n": claim.spread[0].n if claim.spread else None}
    for field in ("n", "mean", "std", "low", "high"):
        value = None if finding.measured is None else getattr(finding.measured, field)
        # NaN is the only value that is not equal to itself.
        row[f"measured_{field}"] = value if value == value else None
    low, high = (None, None) if finding.difference is None else finding.difference.ends
    row |= {"less_reported_low": low, "less_reported_high": high, "known_to": finding.known_to}
    return row | {
        "verdict": finding.verdict,
        "confounded_with": " ".join(finding.confounded_with),
        "note": finding.note,
    }


def _figure(kind: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:g}" if kind == "best weight" else percent(value, sign=kind == "gain")


def _ends(row: Mapping[str, Any]) -> str:
    return interval(row["measured_low"], row["measured_high"], sign=row["kind"] == "gain")


def claims_rich(sheet: Sheet) -> Table:
    """Draw the measured claims for the screen, without the reasons, so that they fit 80 columns."""
    measured = tuple(place for place, row in enumerate(sheet.rows) if row["verdict"] != NOT_MEASURED)
    caption = f"{sheet.caption} The report on disk has the reasons and the rule of the verdicts"
    if others := len(sheet.rows) - len(measured):
        caption += f"; {others} more claims are not measured"
    columns = tuple(column for column in sheet.columns if column.heading not in ("n", "why"))
    return sheet_rich(replace(sheet, columns=columns, caption=f"{caption}.", listed=measured, notes=()))


def summarise(findings: Sequence[Finding]) -> list[str]:
    """Say in plain sentences what the verdicts come to."""
    judged = [finding for finding in findings if finding.verdict != NOT_MEASURED]
    if not judged:
        notes = [finding.note for finding in findings if finding.note.startswith(OTHERWISE)]
        why = f" ({notes[0]})" if notes else ""
        return [f"This study has no complete cell that any claim of the report is about{why}."]
    # Only figures that share no cell are counted.
    counts = Counter(finding.verdict for finding in findings if finding.claim.key in ENTRIES)
    sentences = []
    if counts[NOT_MEASURED] < len(ENTRIES):
        listed = ", ".join(f"{verdict}{WITHIN.get(verdict, '')} ({count})" for verdict, count in sorted(counts.items()))
        sentences.append(f"Verdicts on the {len(ENTRIES)} entries of the report's Table I: {listed}. {SHARED}")
    sentences += [_gain_in_words(finding) for finding in judged if finding.claim.kind == "gain"]
    for verdict in (CONTRADICTED, COMPATIBLE, UNDECIDED):
        others = [finding for finding in judged if finding.verdict == verdict and finding.claim.kind != "gain"]
        if others:
            sentences.append(f"{verdict.capitalize()}: {'; '.join(map(_named, others))}.")
    return sentences


def _gain_in_words(finding: Finding) -> str:
    measured = finding.measured
    assert measured is not None
    ends = interval(measured.low, measured.high, sign=True)
    return (
        f"{finding.claim.text} Measured: {_figure('gain', measured.mean)} (95 % interval {ends}, "
        f"n = {measured.n}). {finding.verdict_in_words.capitalize()}."
    )


def _named(finding: Finding) -> str:
    details = [finding.note] if finding.note else []
    if finding.verdict == COMPATIBLE and finding.known_to is not None:
        details.insert(0, f"known to ±{percent(finding.known_to)} points")
    return f"{finding.claim.key} ({', '.join(details)})" if details else finding.claim.key
