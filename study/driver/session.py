"""One run, from the lock to the exit code: lock, repair, plan, connect, train, report."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from study.console import PlainConsole, tell_problem, tell_unreadable
from study.driver.tracking import folder_for
from study.plan.earlier_cells import early_stopping
from study.plan.jobs import RunPlan, describe_plan, plan_run
from study.plan.next_look import next_look
from study.plan.other_code import other_code
from study.plan.resources import Resources, cells_alone, check_per_seed
from study.plan.run_options import Work
from study.store.files import Folder, StoreError
from study.store.heartbeat import Heartbeat
from study.store.rows import Row
from study.store.status import describe_standings
from study.store.study_json import with_history, with_networks
from trainables.registry import check

# Ray and Optuna take seconds to import; a run that has nothing to train needs neither.
if TYPE_CHECKING:
    from study.driver.recorder import RunOutcome

INTERRUPTED = 130  # an exit code
STORAGE_PATIENCE_S = 30.0  # how long a run waits for a storage that fails


def run_study(work: Work, resources: Resources, console: PlainConsole, command: str) -> int:
    """Train what is missing; return the exit code: 0 all well, 1 a cell failed, 130 interrupted."""
    tracked = folder_for(work.store.study, work.trackers)
    code = train(work, resources, console, command)
    if work.trackers:
        console.print(f"Tracked in {tracked}")
    if code != INTERRUPTED:
        console.print(f"Next: study analyze {work.store.study} --storage {work.store.storage}")
    return code


def train(work: Work, resources: Resources, console: PlainConsole, command: str) -> int:
    """Train as ``run_study`` does; raise StoreError, LaunchError, ModelError or DataError."""
    check([*work.cells, *work.outermost_cells], resources.options.data_dir)
    check_per_seed(resources, work.cells, len(work.seeds))
    resources = cells_alone(resources) if work.grid.search else resources
    code = 0
    failed: set[str] = set()
    with ExitStack() as stack:
        heartbeat = stack.enter_context(Heartbeat(Folder(work.store.storage, work.store.study)))
        # No other driver writes now, so what a crash has left can be cleared and the rest counted.
        # It is read again: another run may have added to study.json since, or during the wait.
        work = work.again()
        work.store.folder.patience_s = STORAGE_PATIENCE_S
        tell_unreadable(work.store.repair(work.info), then="it is set aside, and what is missing is trained again")
        cluster = None
        asked: Work | None = work
        while asked is not None:
            work = asked
            rows, _ = work.store.read_trials(info=work.info)
            work = replace(work, info=with_history(work.info, work.store.read_info(), rows))
            # A cell that has failed is tried again by the next run, not at the next look of this one.
            plan = plan_run(work, rows).without(failed)
            console.print(describe_plan(plan, work))
            _check_code(work, rows, resources.options.same_code, plan.is_done)
            if plan.is_done:
                _write_info(work)
            else:
                cluster = cluster or _connect(stack, work, resources)
                outcome = _train(work, plan, cluster, console, heartbeat)
                code = max(code, _report(plan, outcome, console, command))
                failed |= {cell_id for cell_id, how in outcome.ended.items() if how == "failed"}
            asked = next_look(work) if work.until_decided and code != INTERRUPTED else None
    if work.until_decided:
        for line in describe_standings(work.store, work.info.goal):
            console.print(line)
    return code


def _connect(stack: ExitStack, work: Work, resources: Resources) -> tuple[Resources, bool]:
    """Start Ray on this machine or join a cluster, for all looks of a run."""
    from study.driver.ray_cluster import connect

    return stack.enter_context(connect(resources, {cell.model for cell in work.cells}))


def _train(
    work: Work, plan: RunPlan, cluster: tuple[Resources, bool], console: PlainConsole, heartbeat: Heartbeat
) -> "RunOutcome":
    """Train on the Ray of ``cluster``; return how the cells ended."""
    from study.driver.progress import Progress
    from study.driver.ray_cluster import NodeCount
    from study.driver.tracking import tracking_by
    from study.driver.tune_run import TuneRun, train_on_tune

    jobs, search = plan.jobs, plan.search
    resources, room = cluster
    packed = str(resources.cells_in_a_pack(jobs))
    same_code = resources.options.same_code
    how = {"same_code": same_code} if same_code else {}
    how |= {"device": resources.device, "scheduler": work.scheduler, "cells_per_trial": packed}
    _write_info(work, how | ({"optuna": version("optuna")} if search else {}))
    if not room:
        console.print("No node has room for a cell yet; cells will start when nodes join.")
    stopping = early_stopping(work, jobs) if work.scheduler == "asha" else None
    run = TuneRun(jobs, work.store, resources, stopping, search)
    nodes = NodeCount()
    cells = search.cells_of_a_run(jobs) if search else len(jobs)
    tracking = tracking_by(work.trackers, work.store.study, work.info.goal.column("val"))
    with Progress(cells, work.info.goal, console) as progress, closing(tracking):
        heartbeat.report_from(lambda: progress.snapshot() | {"nodes": nodes.nodes})
        outcome = train_on_tune(run, [progress, tracking], nodes, heartbeat.check)
    outcome.errors.update(tracking.errors)
    return outcome


def _check_code(work: Work, rows: Sequence[Row], reason: str | None, is_done: bool) -> None:
    """Raise StoreError if other code than now made rows of the study, unless a run gave a reason to go on.

    A run that ``is_done`` adds no rows, so it only says so.
    """
    from study.driver.provenance import code_ids

    found = other_code(work.cells, rows)
    if is_done:
        for line in found:
            tell_problem(line)
        return
    others = "; ".join(found)
    now = code_ids(work.cells)
    reasons = [run["same_code"] for run in work.info.runs if run.get("same_code") and run.get("code_id") == now]
    if others and not (reason or reasons):
        fix = "give the new study another --name, or say why old and new rows compare: --same-code 'REASON'"
        raise StoreError(f"{work.store.study}: {others}; {fix}")
    if others:
        tell_problem(f"{others}; taken for the same code, since: {reason or reasons[-1]}")


def _write_info(work: Work, how: dict[str, str] | None = None) -> None:
    """Write study.json; if a run trains, add ``how``, and where its results come from."""
    from study.driver.provenance import describe_run

    runs = work.info.runs if how is None else (*work.info.runs, describe_run(work.cells) | how)
    work.store.write_info(replace(with_networks(work.info, work.cells), runs=runs))


def _report(plan: RunPlan, outcome: "RunOutcome", console: PlainConsole, command: str) -> int:
    """Say which cells failed and what is left; return the exit code."""
    for label, error in outcome.errors.items():
        tell_problem(f"failed: {label}: {error}")
    left = len(plan.jobs) - len(outcome.ended)
    rest = f"{left} are not trained" if left else ""
    if plan.search is not None:
        rest = "" if plan.search.is_over else "the search is not over"
    if rest:
        stored = f"{len(outcome.ended)} cells of this run are stored"
        console.print(f"Interrupted: {stored}, {rest}. To continue, run: {command}")
        return INTERRUPTED
    if failed := list(outcome.ended.values()).count("failed"):
        console.print(f"{failed} cells failed. To retry them, run: {command}")
    return 1 if failed else 0
