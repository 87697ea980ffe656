"""Reported against measured: every accuracy that the report gives, and the same of the study."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from matplotlib.axes import Axes
from scipy import stats

from analysis.course_report.claims import Finding
from analysis.figures.style import REPORTED_GREY, STYLES


@dataclass(frozen=True)
class ComparedRow:
    """An accuracy in percent: ``reported`` and ``measured`` are mean, low and high end of the 95 % t interval.

    Where the report gives no spread, its ends are NaN; so are the study's for one seed.
    """

    label: str
    reported: tuple[float, float, float]
    measured: tuple[float, float, float]
    n: int


def compared_data(findings: Sequence[Finding]) -> tuple[ComparedRow, ...]:
    """Return the measured accuracies in the order of the claims."""
    rows = []
    for finding in findings:
        found = finding.measured
        if finding.kind != "accuracy" or found is None:
            continue
        reach = float("nan")
        if finding.reported_std is not None and finding.reported_n is not None:
            reach = float(stats.t.ppf(0.975, finding.reported_n - 1)) * finding.reported_std / sqrt(finding.reported_n)
        ends = (finding.reported, finding.reported - reach, finding.reported + reach)
        reported, measured = ((100 * a, 100 * b, 100 * c) for a, b, c in (ends, (found.mean, found.low, found.high)))
        rows.append(ComparedRow(finding.key, reported, measured, found.n))
    return tuple(rows)


def draw_compared(rows: Sequence[ComparedRow], ax: Axes) -> None:
    """Draw a line a figure: the report's mark above, the study's below it."""
    if not rows:
        ax.text(0.5, 0.5, "No accuracy of the report is measured", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    seeds = ", ".join(str(n) for n in sorted({row.n for row in rows}))
    kinds = (
        ("reported", -0.13, REPORTED_GREY, "s", "report, n = 10; without a bar it gives no spread"),
        ("measured", 0.13, STYLES[0][0], "o", f"this study, n = {seeds}"),
    )
    for side, aside, colour, marker, label in kinds:
        values = [getattr(row, side) for row in rows]
        ax.errorbar(
            [mean for mean, _, _ in values],
            [place + aside for place in range(len(rows))],
            xerr=([mean - low for mean, low, _ in values], [high - mean for mean, _, high in values]),
            linestyle="none",
            color=colour,
            marker=marker,
            markersize=5,
            capsize=3,
            elinewidth=1.2,
            label=label,
        )
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("accuracy, %, with 95 % t interval")
    ax.grid(axis="x", linewidth=0.4, alpha=0.6)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=8, frameon=False)
