"""What the commands do: a request for a grid becomes a plan, a run, and lines on the screen."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from study.grid import MAX_SEEDS, Grid, GridError, format_value, load_grid
from study.heartbeat import Heartbeat
from study.info import with_networks
from study.planning import Job, Plan, plan_run, study_info
from study.progress import format_duration
from study.screen import tell_problem
from study.storage import Folder
from study.store import Store
from study.tracking import folder_for
from trainables.config import CellSettings
from trainables.models import REPORTED, check

if TYPE_CHECKING:  # Ray takes seconds to import; only a run needs it
    from study.forecast import Forecast, Machines
    from study.resources import Resources
    from study.search import Search
    from trainables.tune_cell import PackTrainable

LISTED = 200  # cells that people read of in a plan
INTERRUPTED = 130  # an exit code
STORAGE_PATIENCE_S = 30.0  # how long a run waits for a storage that fails


@dataclass(frozen=True)
class Request:
    """What the user asks for; None stands for the grid's own choice."""

    grid: str
    storage: str
    name: str | None = None
    seeds: int | None = None
    scheduler: str | None = None
    data: str | None = None
    trackers: tuple[str, ...] = ()

    @property
    def study(self) -> str:
        """The study's name."""
        return self.resolve()[-1].study

    def resolve(self) -> tuple[Grid, list[CellSettings], range, str, Store]:
        """Return the grid, its cells, the seeds, the scheduler and the study's store; raise for what is not valid."""
        grid = load_grid(self.grid)
        if self.seeds is not None and not 1 <= self.seeds <= MAX_SEEDS:
            raise GridError(f"--seeds {self.seeds}: expected 1 to {MAX_SEEDS:,}")
        cells = grid.cells(self.data)
        data = getattr(cells[0], "data", None)
        name = self.name or (grid.name if data in (None, "mnist5k") else f"{grid.name}-{data}")
        scheduler = self.scheduler or grid.stopping.scheduler
        store = Store(self.storage, name)
        if grid.search:
            from study.search import searched_cells

            cells = searched_cells(grid, cells, store.read_info())
        return grid, cells, range(self.seeds or grid.seeds), scheduler, store


def show_plan(
    request: Request, machines: "Machines", resources: "Resources", console: Console, as_json: bool = False
) -> None:
    """List the cells of a grid with what the study has of each, what a run would train, and how long it would take."""
    from study.forecast import forecast

    grid, cells, seeds, scheduler, store = request.resolve()
    check([cell for cell in cells if cell.model not in REPORTED], resources.data_dir)
    study_info(store.study, grid, cells, seeds, store.read_info())
    rows, unreadable = store.read_trials("cell_id", "seed", "device", "started_at", "finished_at")
    plan = plan_run(cells, seeds, rows, scheduler)
    planned = list(_planned(cells, seeds, plan, rows))
    search = search_of(grid, cells, seeds, rows)
    suggested = search.jobs_left() if search else []
    ahead = forecast(store.study, [*plan.jobs, *suggested], grid, rows, machines, resources)
    if as_json:
        described = [
            {"cell_id": cell.cell_id, **cell.model_dump(), "has": has, "to_train": n} for cell, has, n in planned
        ]
        answer = {"study": store.study, "seeds": len(seeds), "cells": described, "to_train": plan.trials}
        answer |= {"search": search.ahead()} if search else {}
        console.print_json(data={**answer, "forecast": asdict(ahead), "unreadable": unreadable}, indent=1)
        return
    table = Table("cell", *grid.roles, "has", "to train", box=None, header_style="bold")
    for cell, has, to_train in planned[:LISTED]:
        held = ", ".join(f"{count} {status}" for status, count in sorted(has.items())) or "none"
        settings = [format_value(getattr(cell, name)) for name in grid.roles]
        table.add_row(cell.cell_id, *settings, held, str(to_train))
    console.print(table)
    if len(planned) > LISTED:
        console.print(f"and {len(planned) - LISTED} more cells; --json has all")
    for file in unreadable:
        tell_problem(f"{file} cannot be read; a run restores it")
    then = f"; {search.ahead()}" if search else ""
    console.print(f"{store.study}: {describe_plan(plan, cells, seeds)}{then}", highlight=False, soft_wrap=True)
    console.print(describe_forecast(ahead, plan, machines, resources), highlight=False, soft_wrap=True)


def _planned(
    cells: Sequence[CellSettings], seeds: Sequence[int], plan: Plan, rows: Sequence[dict[str, Any]]
) -> Iterator[tuple[CellSettings, dict[str, int], int]]:
    """Yield each cell with its trials that the study has, counted by status, and how many are to be trained."""
    held = {row["trial_id"]: row["status"] for row in rows}
    to_train = {job.cell.cell_id: len(job.seeds) for job in plan.jobs}
    for cell in cells:
        found = Counter(status for seed in seeds if (status := held.get(cell.trial_id(seed))))
        yield cell, dict(found), to_train.get(cell.cell_id, 0)


def describe_forecast(ahead: "Forecast", plan: Plan, machines: "Machines", resources: "Resources") -> str:
    """Say how many cells train at once, how long a run takes and what it costs, and what says so."""
    share = f" and {resources.gpus_per_trial:g} GPUs" if resources.gpus_per_trial else ""
    who = f"{machines.nodes} x {machines.cpus:g} cores" + (f" and {machines.gpus:g} GPUs" if machines.gpus else "")
    size = ahead.cells_in_a_pack
    what = f"{ahead.cells_at_once // size} packs of up to {size} cells" if size > 1 else f"{ahead.cells_at_once} cells"
    text = f"on {who}: {what} at once, each with {resources.cpus_per_trial:g} cores{share}"
    if ahead.rate is None:
        return (
            f"{text}; no time is known for such cells on a {resources.device} device: train one there, then plan again"
        )
    if not plan.jobs:
        return text
    cost = "" if ahead.price is None else ", at a price of {:.2f} to {:.2f}".format(*ahead.price)
    least, most = map(format_duration, ahead.time_s or ())
    rate = f"{ahead.rate.mean_s:.2f} s a training (measured: {ahead.rate.source})"
    return f"{text}; about {least} to {most}{cost}, and the start of the machines, at {rate}"


def describe_plan(plan: Plan, cells: Sequence[CellSettings], seeds: Sequence[int]) -> str:
    """Say in a line what a run trains and what it leaves alone."""
    asked = f"{len(cells)} cells x {len(seeds)} seeds = {len(cells) * len(seeds)} trials"
    settled = ", ".join(f"{count} {status}" for status, count in sorted(plan.settled.items())) or "none"
    pruned = "; --scheduler none trains the pruned ones too" if plan.settled.get("pruned") else ""
    to_do = f"{plan.trials} in {len(plan.jobs)} cells to train" if plan.jobs else "nothing to train"
    return f"{asked}; in the store: {settled}{pruned}; {to_do}"


def run_study(request: Request, resources: "Resources", console: Console, command: str) -> int:
    """Train what is missing; return the exit code: 0 all well, 1 a cell failed, 130 interrupted."""
    grid, cells, seeds, scheduler, store = request.resolve()
    info = study_info(store.study, grid, cells, seeds, store.read_info())
    tracked = folder_for(store.study, request.trackers)
    work = Work(grid, cells, seeds, scheduler, store, info, request.trackers)
    code = train(work, resources, console, command)
    if request.trackers:
        console.print(f"Tracked in {tracked}", soft_wrap=True)
    if code != INTERRUPTED:
        console.print(f"Next: study analyze {store.study} --storage {request.storage}", soft_wrap=True)
    return code


@dataclass(frozen=True)
class Work:
    """What a run is to leave in the store: all seeds of all cells; ``info`` is the study.json to write."""

    grid: Grid
    cells: Sequence[CellSettings]
    seeds: Sequence[int]
    scheduler: str
    store: Store
    info: dict[str, Any]
    trackers: tuple[str, ...] = ()


def train(
    work: Work,
    resources: "Resources",
    console: Console,
    command: str,
    trainable: "type[PackTrainable] | None" = None,
) -> int:
    """Train what the store lacks; ``command`` is what the user gave. Return the exit code, as ``run_study`` does."""
    from study.launch import connect, run_jobs
    from study.progress import Progress
    from study.resources import cells_alone

    check([*work.cells, *work.grid.ends(getattr(work.cells[0], "data", None))], resources.data_dir)
    resources = cells_alone(resources) if work.grid.search else resources
    with Heartbeat(Folder(work.store.storage, work.store.study)) as heartbeat:
        work.store.folder.patience_s = STORAGE_PATIENCE_S
        jobs, search = _prepare(work, console)
        if not jobs and (search is None or search.budget_is_spent):
            _describe(work)
            return 0
        with connect(resources, {cell.model for cell in work.cells}) as (resources, room):
            packed = str(resources.cells_in_a_pack(jobs))
            how = {"device": resources.device, "scheduler": work.scheduler, "cells_per_trial": packed}
            _describe(work, **how, **({"optuna": version("optuna")} if search else {}))
            if not room:
                console.print("No node has room for a cell yet; cells start as nodes join.")
            with Progress(search.cells_of_a_run(jobs) if search else len(jobs), console) as progress:
                outcome = run_jobs(
                    work.grid,
                    jobs,
                    work.store,
                    work.scheduler,
                    resources,
                    progress,
                    heartbeat,
                    trainable,
                    work.trackers,
                    search,
                )
    for cell_name, error in outcome.errors.items():
        tell_problem(f"failed: {cell_name}: {error}")
    left = len(jobs) - len(outcome.ended)
    if (search and not search.is_over) or (search is None and left):
        rest = f"{left} are not trained" if search is None else "the search is not over"
        kept = f"{len(outcome.ended)} cells of this run are kept"
        console.print(f"Interrupted: {kept}, {rest}. Go on with: {command}", soft_wrap=True)
        return INTERRUPTED
    if failed := outcome.count("failed"):
        console.print(f"{failed} cells failed. They are tried again by: {command}", soft_wrap=True)
    return 1 if failed else 0


def search_of(
    grid: Grid, cells: Sequence[CellSettings], seeds: Sequence[int], rows: Sequence[dict[str, Any]]
) -> "Search | None":
    """Return the search of a grid that has one."""
    if grid.search is None:
        return None
    from study.search import Search

    return Search(grid, seeds, cells, rows)


def _prepare(work: Work, console: Console) -> tuple[tuple[Job, ...], "Search | None"]:
    """Clear what a crash left in the store; return what is to be trained, and the search that goes on after it."""
    for file in work.store.repair():
        tell_problem(f"{file} cannot be read; it is set aside and its trials are trained again")
    rows = work.store.read_trials()[0]
    plan = plan_run(work.cells, work.seeds, rows, work.scheduler)
    search = search_of(work.grid, work.cells, work.seeds, rows)
    then = f"; {search.ahead()}" if search else ""
    what = describe_plan(plan, work.cells, work.seeds)
    console.print(f"{work.store.study}: {what}{then}", highlight=False, soft_wrap=True)
    return plan.jobs, search


def _describe(work: Work, **run: str) -> None:
    """Write study.json; settings of a ``run`` are added to those of the earlier ones."""
    from study.provenance import describe_run

    runs = [*work.info["runs"], *([describe_run(work.cells[0]) | run] if run else [])]
    work.store.write_info(with_networks(work.info, work.cells) | {"runs": runs})
