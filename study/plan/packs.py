"""Packs: the cells that train together in one stack, as one Tune trial."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from study.plan.jobs import Job
from trainables.registry import read_cell

# Trainings in the stack of a GPU: 20 MB each. Twice as many train 4 % faster (docs/performance.md).
MAX_ROWS = 320

Pack = tuple[Job, ...]  # what trains in one stack: one Tune trial


def packs_of(jobs: Sequence[Job], cells: int) -> list[Pack]:
    """Divide jobs into packs of at most ``cells`` cells, in the order of their first jobs.

    A pack's cells share all settings that a stack must. Cells of a stratum follow one another, so
    that rivals tend to be in one pack. Packs of the same settings differ in size by one at most.
    """
    alike: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        alike[job.cell.stack_key].append(job)
    packs: list[Pack] = []
    for group in alike.values():
        strata = list(dict.fromkeys(job.stratum for job in group))
        if cells > 1:
            group.sort(key=lambda job: strata.index(job.stratum))
        # As few packs as can be, cut evenly: a small pack at the end would leave a GPU idle.
        count = -(-len(group) // cells)
        bounds = [len(group) * number // count for number in range(count + 1)]
        for start, stop in pairwise(bounds):
            packs.append(tuple(group[start:stop]))
    place = dict(zip(jobs, range(len(jobs)), strict=True))
    return sorted(packs, key=lambda pack: min(map(place.__getitem__, pack)))


def cells_for_gpus(jobs: Sequence[Job], packs_at_once: int) -> int:
    """Return the most cells of a pack: one pack per GPU, or MAX_ROWS trainings."""
    # A stack's time grows more slowly than its size, so large stacks pay.
    seeds = max((len(job.seeds) for job in jobs), default=1)
    return max(1, min(-(-len(jobs) // max(1, packs_at_once)), MAX_ROWS // seeds))


def pack_config(pack: Pack) -> dict[str, Any]:
    """Return a pack as the plain values that trainables.tune_cell.PackTrainable takes."""
    return {"cells": [{"cell": job.cell.model_dump(), "seeds": list(job.seeds)} for job in pack]}


def cell_ids(config: Mapping[str, Any]) -> list[str]:
    """Return the ids of the cells in a ``pack_config``."""
    return [read_cell(part["cell"]).cell_id for part in config["cells"]]
