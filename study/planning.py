"""What a run has to train: the cells of the grid, less what the store already has."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from study.grid import Grid
from study.info import disagreements, join_info
from study.rows import FINISHED
from study.storage import StoreError
from trainables.config import CellSettings

MAX_ROWS = 320  # trainings in the stack of a GPU: some 20 MB each, counted from shapes, not measured


@dataclass(frozen=True)
class Job:
    """Seeds of a cell that are still to be trained; ``whole`` when no other seed of the cell has been."""

    cell: CellSettings
    seeds: tuple[int, ...]
    whole: bool


Pack = tuple[Job, ...]  # what trains in one stack: one Tune trial


@dataclass(frozen=True)
class Plan:
    """The jobs of a run, and the trials that it leaves alone, counted by status."""

    jobs: tuple[Job, ...]
    settled: Mapping[str, int]

    @property
    def trials(self) -> int:
        """How many trainings the run has to do."""
        return sum(len(job.seeds) for job in self.jobs)


def plan_run(
    cells: Iterable[CellSettings], seeds: Sequence[int], trials: Iterable[Mapping[str, Any]], scheduler: str
) -> Plan:
    """Compare the cells and seeds asked for with the store's trials.

    Failed trials are trained again. Pruned ones are left alone under asha, with all other seeds of their cell, since
    the seeds of a cell live or die together; without a scheduler they are trained again.
    """
    status = {row["trial_id"]: row["status"] for row in trials}
    pruned_cells = {row["cell_id"] for row in trials if row["status"] == "pruned"}
    jobs, settled = [], Counter[str]()
    for cell in cells:
        held = {seed: status.get(cell.trial_id(seed)) for seed in seeds}
        keep = scheduler != "none" and cell.cell_id in pruned_cells
        missing = [seed for seed in seeds if held[seed] not in FINISHED and not keep]
        settled.update(held[seed] or "pruned" for seed in seeds if seed not in missing)
        if missing:
            jobs.append(Job(cell, tuple(missing), whole=len(missing) == len(seeds)))
    return Plan(tuple(jobs), settled)


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


def study_info(
    study: str, grid: Grid, cells: Sequence[CellSettings], seeds: Sequence[int], earlier: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the content of study.json after the cells and seeds have joined what the study had before.

    A setting that was the same for all cells may become a factor: earlier cells say the value that they had. Raises
    StoreError where the study was run with other settings outside the factors: its rows would not compare.
    """
    asked: dict[str, Any] = {
        "study": study,
        "grid": grid.name,
        "description": grid.description,
        "roles": grid.roles,
        "contrasts": [contrast.model_dump() for contrast in grid.contrasts],
        "cells": [{"cell_id": cell.cell_id, **cell.model_dump()} for cell in cells],
        "seeds": list(seeds),
        "protocol": {name: value for name, value in cells[0].model_dump().items() if name not in grid.roles},
        "runs": [],
    }
    if grid.search is not None:
        asked["search"] = grid.search.model_dump(exclude_none=True)
    if earlier is None:
        return asked
    for name, before, now in disagreements(earlier, asked):
        raise StoreError(
            f"the study {study} was run with {name} {before}, now it is {now}: rows of both would not compare; "
            f"make {name} a factor of the grid, or give the new study another --name"
        )
    return join_info(earlier, asked)
