"""What the commands do: the work that was asked for becomes a plan, a run, and lines on the screen."""

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from rich.console import Console

from study.console import tell_problem
from study.driver.tracking import folder_for
from study.plan.jobs import Job, describe_plan, plan_run
from study.plan.request import Work, search_of
from study.store.files import Folder
from study.store.heartbeat import Heartbeat
from study.store.study_json import with_networks
from trainables.registry import check

if TYPE_CHECKING:  # Ray takes seconds to import; only a run needs it
    from study.plan.resources import Resources
    from study.plan.search import Search
    from trainables.tune_cell import PackTrainable

INTERRUPTED = 130  # an exit code
STORAGE_PATIENCE_S = 30.0  # how long a run waits for a storage that fails


def run_study(work: Work, resources: "Resources", console: Console, command: str) -> int:
    """Train what is missing; return the exit code: 0 all well, 1 a cell failed, 130 interrupted."""
    store = work.store
    tracked = folder_for(store.study, work.trackers)
    code = train(work, resources, console, command)
    if work.trackers:
        console.print(f"Tracked in {tracked}", soft_wrap=True)
    if code != INTERRUPTED:
        console.print(f"Next: study analyze {store.study} --storage {store.storage}", soft_wrap=True)
    return code


def train(
    work: Work,
    resources: "Resources",
    console: Console,
    command: str,
    trainable: "type[PackTrainable] | None" = None,
) -> int:
    """Train what the store lacks; ``command`` is what the user gave. Return the exit code, as ``run_study`` does."""
    from study.driver.progress import Progress
    from study.driver.ray_cluster import connect
    from study.driver.tune_run import run_jobs
    from study.plan.resources import cells_alone

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
    from study.driver.provenance import describe_run

    new = (describe_run(work.cells[0]) | run,) if run else ()
    work.store.write_info(replace(with_networks(work.info, work.cells), runs=(*work.info.runs, *new)))
