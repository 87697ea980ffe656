"""One run, from the lock of the study to the exit code: lock, repair, plan, connect, train, report."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from rich.console import Console

from study.console import tell_problem
from study.driver.tracking import folder_for
from study.plan.early_stopping import early_stopping
from study.plan.jobs import Job, describe_plan, plan_run
from study.plan.request import Work
from study.plan.resources import Resources, cells_alone
from study.store.files import Folder
from study.store.heartbeat import Heartbeat
from study.store.study_json import with_networks
from trainables.registry import check

# Ray and Optuna take seconds to import; a run that has nothing to train needs neither.
if TYPE_CHECKING:
    from study.driver.recorder import RunOutcome
    from study.plan.next_cell import CellSearch
    from trainables.tune_cell import PackTrainable

INTERRUPTED = 130  # an exit code
STORAGE_PATIENCE_S = 30.0  # how long a run waits for a storage that fails


def run_study(work: Work, resources: Resources, console: Console, command: str) -> int:
    """Train what is missing; return the exit code: 0 all is well, 1 a cell failed, 130 interrupted."""
    store = work.store
    tracked = folder_for(store.study, work.trackers)
    code = train(work, resources, console, command)
    if work.trackers:
        console.print(f"Tracked in {tracked}", soft_wrap=True)
    if code != INTERRUPTED:
        console.print(f"Next: study analyze {store.study} --storage {store.storage}", soft_wrap=True)
    return code


@dataclass(frozen=True)
class ToTrain:
    """What a run trains: jobs, and then the cells that a search suggests, if the grid has one."""

    jobs: Sequence[Job]
    search: "CellSearch | None"

    @property
    def is_nothing(self) -> bool:
        """Whether all is in the store already."""
        return not self.jobs and (self.search is None or self.search.budget_is_spent)

    @property
    def cells(self) -> int | None:
        """How many cells train at most; None if time alone ends the search."""
        return len(self.jobs) if self.search is None else self.search.cells_of_a_run(self.jobs)


def train(
    work: Work,
    resources: Resources,
    console: Console,
    command: str,
    trainable: "type[PackTrainable] | None" = None,
) -> int:
    """Train what the store lacks; return the exit code, as ``run_study`` does.

    ``command`` is what the user gave, to be repeated after an interruption. ``trainable``
    is another one for benchmarks. Raises StoreError, LaunchError, ModelError and DataError.
    """
    check([*work.cells, *work.outermost_cells], resources.data_dir)
    if work.grid.search:
        resources = cells_alone(resources)
    with Heartbeat(Folder(work.store.storage, work.store.study)) as heartbeat:
        # No other driver writes now, so what a crash has left can be cleared and the rest
        # counted.
        work.store.folder.patience_s = STORAGE_PATIENCE_S
        _repair(work)
        missing = _plan(work, console)
        if missing.is_nothing:
            _write_info(work)
            return 0
        outcome = _train(work, missing, resources, console, heartbeat, trainable)
    return _report(missing, outcome, console, command)


def _repair(work: Work) -> None:
    """Clear what a crash left in the store."""
    for file in work.store.repair():
        tell_problem(f"{file} cannot be read; it is set aside and its trials are trained again")


def _plan(work: Work, console: Console) -> ToTrain:
    """Compare what is asked for with the store; say what is to be trained."""
    rows = work.store.read_trials()[0]
    plan = plan_run(work.grid, work.cells, work.seeds, rows, work.scheduler)
    search = work.search(rows)
    line = describe_plan(plan, work.cells, work.seeds)
    if search:
        line += f"; {search.ahead()}"
    console.print(f"{work.store.study}: {line}", highlight=False, soft_wrap=True)
    return ToTrain(plan.jobs, search)


def _train(
    work: Work,
    missing: ToTrain,
    resources: Resources,
    console: Console,
    heartbeat: Heartbeat,
    trainable: "type[PackTrainable] | None",
) -> "RunOutcome":
    """Train on a Ray of this machine, or on a cluster; return how the cells ended."""
    from study.driver.progress import Progress
    from study.driver.ray_cluster import NodeCount, connect
    from study.driver.tracking import tracking_by
    from study.driver.tune_run import TuneRun, train_on_tune
    from trainables.tune_cell import PackTrainable

    with connect(resources, {cell.model for cell in work.cells}) as (resources, room):
        _write_info(work, _run_settings(work, missing, resources))
        if not room:
            console.print("No node has room for a cell yet; cells will start when nodes join.")
        stopping = None
        if work.scheduler == "asha":
            stopping = early_stopping(work.grid, work.cells, missing.jobs, work.store)
        run = TuneRun(
            jobs=missing.jobs,
            store=work.store,
            resources=resources,
            stopping=stopping,
            search=missing.search,
            trainable=trainable or PackTrainable,
        )
        nodes = NodeCount()
        with (
            Progress(missing.cells, console) as progress,
            closing(tracking_by(work.trackers, work.store.study)) as tracking,
        ):
            heartbeat.report_from(lambda: progress.snapshot() | {"nodes": nodes.nodes})
            outcome = train_on_tune(run, [progress, tracking], nodes, heartbeat.check)
    outcome.errors.update(tracking.errors)
    return outcome


def _run_settings(work: Work, missing: ToTrain, resources: Resources) -> dict[str, str]:
    """Return how a run trains, for study.json."""
    settings = {
        "device": resources.device,
        "scheduler": work.scheduler,
        "cells_per_trial": str(resources.cells_in_a_pack(missing.jobs)),
    }
    if missing.search:
        settings["optuna"] = version("optuna")
    return settings


def _write_info(work: Work, run: dict[str, str] | None = None) -> None:
    """Write study.json; a ``run`` that trains is added to the earlier ones, with where its results come from."""
    from study.driver.provenance import describe_run

    runs = work.info.runs
    if run is not None:
        runs = (*runs, describe_run(work.cells[0]) | run)
    work.store.write_info(replace(with_networks(work.info, work.cells), runs=runs))


def _report(missing: ToTrain, outcome: "RunOutcome", console: Console, command: str) -> int:
    """Say which cells failed and what is left; return the exit code."""
    for label, error in outcome.errors.items():
        tell_problem(f"failed: {label}: {error}")
    rest = None
    left = len(missing.jobs) - len(outcome.ended)
    if missing.search is not None:
        rest = None if missing.search.is_over else "the search is not over"
    elif left:
        rest = f"{left} are not trained"
    if rest is not None:
        stored = f"{len(outcome.ended)} cells of this run are stored"
        console.print(f"Interrupted: {stored}, {rest}. To continue, run: {command}", soft_wrap=True)
        return INTERRUPTED
    if failed := outcome.count("failed"):
        console.print(f"{failed} cells failed. To retry them, run: {command}", soft_wrap=True)
    return 1 if failed else 0
