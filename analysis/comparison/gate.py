"""Whether a change is kept: a contrast of a study against the smallest improvement that is wanted."""

from dataclasses import dataclass

import numpy as np

from analysis.load import StudyData
from analysis.statistics.power import seeds_for, upper_std
from analysis.statistics.standings import Standing, replication_of, standings
from analysis.stored import AnalysisError

VERDICTS = {0: "better", 1: "not better by so much, or worse", 3: "undecided"}


@dataclass(frozen=True)
class Gate:
    """A verdict: ``code`` is a key of ``VERDICTS``, and ``seeds_more`` are wanted to decide, None if unknown."""

    code: int
    standing: Standing
    seeds_more: int | None


def judge(data: StudyData, contrast: str, at_least: float) -> Gate:
    """Judge a contrast by name; ``at_least``, 0 or more, is in the unit of the objective.

    It is better (0) if it differs in the objective's direction, and an improvement of ``at_least`` is not ruled
    out. If it is ruled out, or the contrast differs in the other direction, it is not (1). The intervals hold for
    all contrasts and looks; without looks, one look at all seeds is taken. Raises AnalysisError.
    """
    found = {standing.name: standing for standing in standings(data, replication_of(data, at_least))}
    if contrast not in found:
        named = ", ".join(found) or "no contrast: its grid names none"
        raise AnalysisError(f"no contrast {contrast!r} in study {data.name}: expected one of {named}")
    standing = found[contrast]
    decision, sign = standing.decision, data.info.goal.sign
    wanted = at_least / data.info.goal.scale
    differs = decision.verdict == "differs"
    if max(sign * decision.low, sign * decision.high) < wanted or (differs and sign * decision.mean < 0):
        return Gate(1, standing, 0)
    return Gate(0, standing, 0) if differs else Gate(3, standing, _seeds_more(standing, wanted))


def _seeds_more(standing: Standing, wanted: float) -> int | None:
    """Return the seeds until the next look, or that a plan by the seeds that are there would ask for."""
    decision, n = standing.decision, len(standing.differences)
    if decision.next_look is not None:
        return decision.next_look - n
    if n < 2 or not wanted or np.ptp(standing.differences) == 0:
        return None
    return max(1, seeds_for(wanted, upper_std(float(standing.differences.std(ddof=1)), n)) - n)
