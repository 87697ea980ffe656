"""Reported against measured: every accuracy that the course report gives, and the same of the study."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from matplotlib.axes import Axes
from scipy import stats

from analysis.course_report.claims import Claim
from analysis.course_report.reported import ROUNDS
from analysis.course_report.verdicts import Finding
from analysis.figures.style import ESTIMATES, GREY, GRID, LEGEND_ABOVE, LEGEND_TEXT, STYLES, Style

ASIDE = 0.13  # of a row, by which the marks of the report and of the study are apart from its middle
REPORT = Style(GREY, "s", "none")
STUDY = STYLES[0]

# Mean, and low and high end of the 95 % t interval, in percent.
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ComparedRow:
    """An accuracy as reported and as measured. Without a spread, or for one seed, the ends are NaN."""

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
    reach = float("nan")
    if claim.reported_std is not None and claim.reported_n is not None:
        reach = float(stats.t.ppf(0.975, claim.reported_n - 1)) * claim.reported_std / sqrt(claim.reported_n)
    mean = claim.reported
    return 100 * mean, 100 * (mean - reach), 100 * (mean + reach)


def draw_compared(rows: Sequence[ComparedRow], ax: Axes) -> None:
    """Draw one row per accuracy: the report's mark above, the study's below it."""
    if not rows:
        ax.text(0.5, 0.5, "No accuracy of the report is measured", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    seeds = ", ".join(str(n) for n in sorted({row.n for row in rows}))
    reported = f"report, n = {ROUNDS}; without a bar it gives no spread"
    _draw_side([row.reported for row in rows], -ASIDE, REPORT, reported, ax)
    _draw_side([row.measured for row in rows], ASIDE, STUDY, f"this study, n = {seeds}", ax)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("accuracy, %, with 95 % t interval")
    ax.grid(axis="x", **GRID)
    ax.legend(**LEGEND_ABOVE, **LEGEND_TEXT)


def _draw_side(values: Sequence[Triple], aside: float, style: Style, label: str, ax: Axes) -> None:
    below = [mean - low for mean, low, _ in values]
    above = [high - mean for mean, _, high in values]
    ax.errorbar(
        [mean for mean, _, _ in values],
        [place + aside for place in range(len(values))],
        xerr=(below, above),
        color=style.colour,
        marker=style.marker,
        label=label,
        **ESTIMATES,
    )
