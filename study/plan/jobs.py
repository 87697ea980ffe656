"""What a run has to train: the cells of the grid without what the store already has."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from analysis.stored import FINISHED, StoredMetric, StudyInfo
from study.grid.grid import Grid
from study.plan.run_options import Work
from study.store.files import StoreError
from study.store.study_json import check_metrics, disagreements, join_info, shared_draw, shared_settings
from study.words import Value
from trainables.config import TrainingSettings

if TYPE_CHECKING:  # only a search needs Optuna
    from study.plan.next_cell import CellSearch


@dataclass(frozen=True)
class Job:
    """Seeds of one cell that are still to be trained, with all that the driver needs to know of the cell.

    ``label`` names the cell for people. Cells with the same ``stratum`` (the values of the
    scientific factors) compete in early stopping, which leaves ``protected`` ones alone. A
    ``whole`` job trains all seeds of the cell, so that its mean compares with other cells'.
    ``factors`` are the cell's settings that the study varies.
    """

    cell: TrainingSettings
    seeds: tuple[int, ...]
    whole: bool
    label: str
    stratum: tuple[Value, ...]
    protected: bool
    factors: dict[str, Value] = field(default_factory=dict, compare=False)


def plan_job(grid: Grid, cell: TrainingSettings, seeds: Iterable[int], whole: bool = True) -> Job:
    """Return the job that trains some seeds of a cell of the grid."""
    factors = {name: getattr(cell, name) for name in grid.roles}
    return Job(cell, tuple(seeds), whole, grid.describe(cell), grid.stratum(cell), grid.protects(cell), factors)


@dataclass(frozen=True)
class RunPlan:
    """The jobs of a run, its search, and how many trials it leaves alone, by status."""

    jobs: tuple[Job, ...]
    settled: Mapping[str, int]
    search: "CellSearch | None"

    @property
    def trials(self) -> int:
        """How many trials the run has to train."""
        return count_trainings(self.jobs)

    @property
    def is_done(self) -> bool:
        """Tell whether there is nothing to train."""
        return not self.jobs and (self.search is None or self.search.budget_is_spent)

    def without(self, cells: Container[str]) -> "RunPlan":
        """Return the plan without the jobs of some cells."""
        return replace(self, jobs=tuple(job for job in self.jobs if job.cell.cell_id not in cells))


def count_trainings(jobs: Iterable[Job]) -> int:
    """Return how many trainings jobs are: one for each seed."""
    return sum(len(job.seeds) for job in jobs)


def plan_run(work: Work, trials: Sequence[dict[str, Any]]) -> RunPlan:
    """Compare the cells and seeds that are asked for with the ``trials``, the rows of the store.

    Failed trials are trained again, and without a scheduler pruned ones too. With asha these are
    left alone, as are all other seeds of their cell: the seeds of a cell live or die together.
    """
    status: dict[str, str] = {}
    pruned_cells = set()
    for row in trials:
        status[row["trial_id"]] = row["status"]
        if row["status"] == "pruned":
            pruned_cells.add(row["cell_id"])
    jobs = []
    settled = Counter[str]()
    for cell in work.cells:
        left_alone = work.scheduler != "none" and cell.cell_id in pruned_cells
        missing = []
        planned = work.seeds_of(cell)
        for seed in planned:
            held = status.get(cell.trial_id(seed))
            if held in FINISHED or left_alone:
                # A new seed of a pruned cell has no row: it counts as pruned like the others.
                settled[held or "pruned"] += 1
            else:
                missing.append(seed)
        if missing:
            jobs.append(plan_job(work.grid, cell, missing, whole=len(missing) == len(planned)))
    return RunPlan(tuple(jobs), settled, work.search(trials))


def study_info(
    study: str, grid: Grid, cells: Sequence[TrainingSettings], seeds: Sequence[int], earlier: StudyInfo | None
) -> StudyInfo:
    """Return the content of study.json after cells and seeds have joined what the study had before.

    A setting that was the same for all cells may become a factor: the earlier cells then
    name the value that they had. Raises StoreError if the study was run with another value
    of a setting that is no factor: the rows of both could not be compared. For the same reason it
    refuses a metric that has become another, and an objective that earlier trials do not have.
    """
    asked = StudyInfo(
        study=study,
        grid=grid.name,
        description=grid.description,
        roles=grid.roles,
        contrasts=tuple(contrast.model_dump() for contrast in grid.contrasts),
        cells=(described := tuple({"cell_id": cell.cell_id, **cell.model_dump()} for cell in cells)),
        seeds=tuple(seeds),
        protocol=shared_settings(described, grid.roles),
        runs=(),
        search=None if grid.search is None else grid.search.model_dump(exclude_none=True),
        replicate=None if grid.replicate is None else grid.replicate.model_dump(),
        metrics=tuple(StoredMetric(**asdict(metric)) for metric in grid.metrics),
        objective=grid.objective_metric.name,
        draw=shared_draw([cell.data_draw or grid.draw for cell in cells]),
    )
    if earlier is None:
        return asked
    for name, before, now in disagreements(earlier, asked):
        raise StoreError(
            f"the study {study} was run with {name} {before}, now it is {now}: rows of both would not "
            f"compare; make {name} a factor of the grid, or give the new study another --name"
        )
    _check_rule(study, earlier.replicate, asked.replicate)
    check_metrics(study, earlier, "the grid", asked, "give the new study another --name")
    if asked.objective not in {metric.name for metric in earlier.metrics}:
        raise StoreError(
            f"the trials of {study} have no {asked.objective}, now the objective; "
            f"set objective: {earlier.objective} in the grid, or give the new study another --name"
        )
    return join_info(earlier, asked)


def _check_rule(study: str, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """Raise StoreError if the rule that decides contrasts has changed."""
    if None not in (before, now) and before != now:
        raise StoreError(
            f"the study {study} is decided by replicate {before}, now it is {now}: a rule that changes after "
            "results errs more often than it says; keep it, or give the new study another --name"
        )


def describe_plan(plan: RunPlan, work: Work) -> str:
    """Say in one line what a run trains, what it leaves alone, and what its search does."""
    cells, seeds = len(work.cells), len(work.seeds)
    count = sum(len(work.seeds_of(cell)) for cell in work.cells)
    more = f" and {further} further" if (further := count - cells * seeds) else ""
    asked = f"{work.store.study}: {cells} cells x {seeds} seeds{more} = {count} trials"
    settled = ", ".join(f"{count} {status}" for status, count in sorted(plan.settled.items())) or "none"
    pruned = "; --scheduler none trains the pruned ones too" if plan.settled.get("pruned") else ""
    to_do = f"{plan.trials} trials of {len(plan.jobs)} cells to train" if plan.jobs else "nothing to train"
    then = f"; {plan.search.ahead()}" if plan.search else ""
    return f"{asked}; in the store: {settled}{pruned}; {to_do}{then}"
