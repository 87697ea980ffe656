"""How many seeds a wanted difference needs, by the seeds that a study has already."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.load import load_study, no_cell
from analysis.statistics.looks import nominal_level
from analysis.statistics.power import ALPHA, CONFIDENCE, POWER, detectable, seeds_for, upper_std
from analysis.statistics.standings import replication_of, standings
from study.plan.run_options import LaunchError, Work


@dataclass(frozen=True)
class Detection:
    """What finds a difference: ``seeds`` of each cell at a ``level`` of one contrast, and words for people.

    ``contrasts`` have the pilot's ``n`` seeds, ``std`` of paired differences, its ``upper_std``, the
    difference that is ``detectable`` with n seeds, and the ``seeds`` that the wanted one needs.
    """

    seeds: int
    level: float
    contrasts: tuple[Mapping[str, Any], ...]
    words: str


def seeds_to_detect(work: Work, difference: float, pilot: str | None) -> Detection:
    """Plan for a difference in the objective's unit by a pilot study, by default the grid's own.

    Raises LaunchError, or AnalysisError if the pilot cannot be read.
    """
    if difference <= 0:
        raise LaunchError(f"--detect {difference:g}: expected more than 0, in the unit of the objective")
    data = load_study(work.store.storage, pilot or work.store.study, no_cell)
    goal, grid = data.info.goal, work.grid
    tests = max(1, len(grid.contrasts))
    level = ALPHA / tests
    if (rule := grid.replicate) is not None:
        level = nominal_level(tuple(rule.looks), rule.alpha / tests)
    rows = []
    for standing in standings(data, replication_of(data, difference)):
        n = len(standing.differences)
        if n < 2 or not (std := float(standing.differences.std(ddof=1)) * goal.scale):
            continue
        upper = upper_std(std, n)
        row: dict[str, Any] = {"name": standing.name, "n": n, "std": std, "upper_std": upper}
        rows.append(row | {"detectable": detectable(std, n, level), "seeds": seeds_for(difference, upper, level)})
    if not rows:
        fix = "train two seeds or more of it, or name a study that has them with --pilot"
        raise LaunchError(f"--detect: no contrast of the study {data.name} has differences to plan by; {fix}")
    seeds = max(row["seeds"] for row in rows)
    unit = goal.difference_unit
    words = (
        f"To find a difference of {f'{difference:g} {unit}'.strip()} in {100 * POWER:g} of 100 studies, at a level of "
        f"{level:.2g} for each of {tests} contrasts, plan {seeds} seeds: by the upper {100 * CONFIDENCE:g} % bound of "
        f"the paired standard deviation in {data.name}"
    )
    return Detection(seeds, level, tuple(rows), words)
