"""What a run has to train: the cells of the grid, less what the store already has."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.grid import Grid
from study.info import disagreements, join_info
from study.rows import FINISHED
from study.storage import StoreError
from trainables.config import CellConfig


@dataclass(frozen=True)
class Job:
    """Seeds of a cell that are still to be trained; ``whole`` when no other seed of the cell has been."""

    cell: CellConfig
    seeds: tuple[int, ...]
    whole: bool


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
    cells: Iterable[CellConfig], seeds: Sequence[int], trials: Iterable[Mapping[str, Any]], scheduler: str
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


def study_info(
    study: str, grid: Grid, cells: Sequence[CellConfig], seeds: Sequence[int], earlier: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the content of study.json after the cells and seeds have joined what the study had before.

    A setting that was the same for all cells may become a factor: earlier cells say the value that they had. Raises
    StoreError where the study was run with other settings outside the factors: its rows would not compare.
    """
    asked = {
        "study": study,
        "grid": grid.name,
        "roles": grid.roles,
        "contrasts": [contrast.model_dump() for contrast in grid.contrasts],
        "cells": [{"cell_id": cell.cell_id, **cell.model_dump()} for cell in cells],
        "seeds": list(seeds),
        "protocol": {name: value for name, value in cells[0].model_dump().items() if name not in grid.roles},
        "runs": [],
    }
    if earlier is None:
        return asked
    for name, before, now in disagreements(earlier, asked):
        raise StoreError(
            f"the study {study} was run with {name} {before}, now it is {now}: rows of both would not compare; "
            f"make {name} a factor of the grid, or give the new study another --name"
        )
    return join_info(earlier, asked)
