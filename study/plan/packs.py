"""Packs: the cells that train together in one stack, as one Tune trial."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from study.grid.grid import Grid
from study.plan.jobs import Job

MAX_ROWS = 320  # trainings in the stack of a GPU: some 20 MB each, counted from shapes, not measured


Pack = tuple[Job, ...]  # what trains in one stack: one Tune trial


def packs_of(jobs: Sequence[Job], grid: Grid, cells: int) -> list[Pack]:
    """Divide jobs into packs of at most so many cells, in the order of their first jobs.

    The cells of a pack share all settings that a stack must. Cells of a stratum come after one another, so that rivals
    tend to be in one pack; packs of the same settings differ by at most one cell in size.
    """
    alike: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        alike[job.cell.stack_key].append(job)
    place = {job: number for number, job in enumerate(jobs)}
    packs: list[Pack] = []
    for group in alike.values():
        strata = list(dict.fromkeys(grid.stratum(job.cell) for job in group))
        ordered = sorted(group, key=lambda job: strata.index(grid.stratum(job.cell))) if cells > 1 else group
        count = -(-len(ordered) // cells)
        bounds = [len(ordered) * number // count for number in range(count + 1)]
        packs += [tuple(ordered[start:stop]) for start, stop in pairwise(bounds)]
    return sorted(packs, key=lambda pack: min(place[job] for job in pack))


def cells_for_gpus(jobs: Sequence[Job], packs_at_once: int) -> int:
    """Return how many cells a pack holds at most so that all GPUs have one, or MAX_ROWS trainings fill one.

    A stack grows slower than it gets larger, so a GPU should train all that it will ever train at once.
    """
    seeds = max((len(job.seeds) for job in jobs), default=1)
    return max(1, min(-(-len(jobs) // max(1, packs_at_once)), MAX_ROWS // seeds))
