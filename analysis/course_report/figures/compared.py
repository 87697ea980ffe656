"""Every accuracy that the course report gives, beside the one measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from analysis.course_report.claims import Claim
from analysis.course_report.draw import draws
from analysis.course_report.reported import ROUNDS
from analysis.course_report.verdicts import Finding
from analysis.figures.style import GREY, GRID, LEGEND_ABOVE, LEGEND_TEXT, STYLES, Style, Triple, draw_estimates
from analysis.output.page import Panels, Picture, make_picture

ASIDE = 0.13  # of a row, from its middle to the marks of the report and of the study
REPORT = Style(GREY, "s", "none")


@dataclass(frozen=True)
class ComparedRow:
    """An accuracy in percent, as reported and measured; NaN for the ends of an unknown interval."""

    label: str
    reported: Triple
    measured: Triple
    n: int


def compared_data(findings: Sequence[Finding]) -> tuple[ComparedRow, ...]:
    """Return the measured accuracies in the order of the claims."""
    rows = []
    for finding in findings:
        found = finding.measured
        if finding.claim.kind == "accuracy" and found is not None:
            measured = (100 * found.mean, 100 * found.low, 100 * found.high)
            rows.append(ComparedRow(finding.claim.key, _reported(finding.claim), measured, found.n))
    return tuple(rows)


def _reported(claim: Claim) -> Triple:
    low, high = float("nan"), float("nan")
    if claim.spread:
        low, high = (claim.spread[0].measure - draws(1, False, claim.reported)).ends
    return 100 * claim.reported, 100 * low, 100 * high


def compared_picture(findings: Sequence[Finding]) -> Picture:
    """Return the picture of the measured accuracies beside the report's."""
    alt = "Reported and measured accuracies with their intervals, one row per accuracy"
    caption = "Every accuracy of the report, with its one draw of pairs, beside the one measured: 95 % intervals."
    panels = Panels([compared_data(findings)], draw_compared, (6.4, 5.6))
    return make_picture("compared", alt, caption, panels)


def draw_compared(rows: Sequence[ComparedRow], ax: Axes) -> None:
    """Draw one row per accuracy: the report's mark above, the study's below it."""
    if not rows:
        ax.text(0.5, 0.5, "No accuracy of the report is measured", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    # The axis points down, so a smaller place is higher.
    places = np.arange(len(rows))
    reported = f"report, n = {ROUNDS}; without a bar it gives no spread"
    draw_estimates([row.reported for row in rows], places - ASIDE, REPORT, reported, ax)
    seeds = ", ".join(map(str, sorted({row.n for row in rows})))
    draw_estimates([row.measured for row in rows], places + ASIDE, STYLES[0], f"this study, n = {seeds}", ax)
    ax.set_yticks(places, [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("accuracy, %, with 95 % t interval")
    ax.grid(axis="x", **GRID)
    ax.legend(**LEGEND_ABOVE, **LEGEND_TEXT)
