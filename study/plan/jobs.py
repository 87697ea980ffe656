"""What a run has to train: the cells of the grid, less what the store already has."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.stored import FINISHED, StudyInfo
from study.grid.grid import Grid
from study.store.files import StoreError
from study.store.study_json import disagreements, join_info
from trainables.config import CellSettings


@dataclass(frozen=True)
class Job:
    """Seeds of a cell that are still to be trained; ``whole`` when no other seed of the cell has been."""

    cell: CellSettings
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


def study_info(
    study: str, grid: Grid, cells: Sequence[CellSettings], seeds: Sequence[int], earlier: StudyInfo | None
) -> StudyInfo:
    """Return the content of study.json after the cells and seeds have joined what the study had before.

    A setting that was the same for all cells may become a factor: earlier cells say the value that they had. Raises
    StoreError where the study was run with other settings outside the factors: its rows would not compare.
    """
    first = cells[0].model_dump()
    asked = StudyInfo(
        study=study,
        grid=grid.name,
        description=grid.description,
        roles=grid.roles,
        contrasts=tuple(contrast.model_dump() for contrast in grid.contrasts),
        cells=tuple({"cell_id": cell.cell_id, **cell.model_dump()} for cell in cells),
        seeds=tuple(seeds),
        protocol={name: value for name, value in first.items() if name not in grid.roles},
        runs=(),
        search=None if grid.search is None else grid.search.model_dump(exclude_none=True),
    )
    if earlier is None:
        return asked
    for name, before, now in disagreements(earlier, asked):
        raise StoreError(
            f"the study {study} was run with {name} {before}, now it is {now}: rows of both would not compare; "
            f"make {name} a factor of the grid, or give the new study another --name"
        )
    return join_info(earlier, asked)


def describe_plan(plan: Plan, cells: Sequence[CellSettings], seeds: Sequence[int]) -> str:
    """Say in a line what a run trains and what it leaves alone."""
    asked = f"{len(cells)} cells x {len(seeds)} seeds = {len(cells) * len(seeds)} trials"
    settled = ", ".join(f"{count} {status}" for status, count in sorted(plan.settled.items())) or "none"
    pruned = "; --scheduler none trains the pruned ones too" if plan.settled.get("pruned") else ""
    to_do = f"{plan.trials} in {len(plan.jobs)} cells to train" if plan.jobs else "nothing to train"
    return f"{asked}; in the store: {settled}{pruned}; {to_do}"
