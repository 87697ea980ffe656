"""Trains the jobs of a plan on Ray Tune: one Tune trial a pack of cells, rows stored as soon as a cell ends."""

import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import trainables
from study.grid import Grid
from study.heartbeat import BEAT_S, Heartbeat
from study.info import with_cell
from study.planning import Job, Pack, packs_of
from study.progress import Progress
from study.resources import LaunchError, Resources, cells_that_fit, placed
from study.rows import CellResult
from study.screen import is_verbose
from study.stopping import StratifiedASHA
from study.storage import StoreError
from study.store import Store, mean_curves
from trainables.config import CellConfig
from trainables.tune_cell import PackTrainable, StorageNotSharedError, Verdicts

if TYPE_CHECKING:  # only a search needs Optuna
    from study.search import Search

CHECKPOINT_EVERY = 10  # epochs


@dataclass
class Outcome:
    """How many cells of a run ended in which way; ``errors`` are those of the failed ones, by cell."""

    ended: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def count(self, how: str) -> int:
        """Count the cells that ended so."""
        return list(self.ended.values()).count(how)


def run_jobs(
    grid: Grid,
    jobs: Sequence[Job],
    store: Store,
    scheduler: str,
    resources: Resources,
    progress: Progress,
    heartbeat: Heartbeat,
    trainable: type[PackTrainable] | None = None,
    search: "Search | None" = None,
) -> Outcome:
    """Train all jobs, and then what a search suggests, on the Ray of ``connect``; return when all have ended, or when
    the user interrupted (then some are not in the outcome, or the search is not over).

    Raises StoreError where the storage fails, or where another driver has taken the study.
    """
    outcome = Outcome()
    packs = packs_of(jobs, grid, resources.cells_in_a_pack(jobs))
    verdicts, tell = _verdicts() if scheduler == "asha" and len(packs) < len(jobs) else (None, _tell_none)
    asha = _asha(grid, jobs, search, store, tell) if scheduler == "asha" else None
    keeper = _Keeper(grid, store, resources.device, progress, heartbeat, outcome, asha.pruned if asha else {})
    queue: Iterator[Pack | None] = iter(packs)
    if search:
        keeper.kept, queue = search.learn, _searched(search, jobs, store, resources, asha, keeper)
    share = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial or 0}
    with store.scratch() as (filesystem, folder):
        store.folder.put("scratch/shared", b"")
        heartbeat.report = lambda: progress.snapshot() | {"nodes": keeper.nodes}
        tuner = tune.Tuner(
            tune.with_resources(trainable or PackTrainable, share),
            param_space={
                "device": resources.device,
                "threads": max(1, int(resources.cpus_per_trial)),
                "data_dir": resources.data_dir,
                "epoch_limit_s": resources.epoch_limit_s,
                "marker": (filesystem, f"{folder}/shared"),
                "verdicts": verdicts,
            },
            tune_config=tune.TuneConfig(
                search_alg=_Packs(queue),
                num_samples=-1 if search else len(packs),
                scheduler=asha,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                storage_filesystem=filesystem,
                verbose=0,
                callbacks=[keeper],
                stop=keeper,
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                checkpoint_config=tune.CheckpointConfig(
                    num_to_keep=1, checkpoint_frequency=CHECKPOINT_EVERY, checkpoint_at_end=False
                ),
            ),
        )
        try:
            tuner.fit()
        except Exception:  # Tune reads its own files when it ends, and may stumble over what a failed storage left
            if keeper.error is None:
                raise
    if keeper.error is not None:
        raise keeper.error
    return outcome


def _verdicts() -> tuple[str, Callable[[str, int], None]]:
    """Start the actor Verdicts; return its name and how to write to it.

    It is on the driver's node, so that it is lost only together with the driver, and ends with it.
    """
    name, here = f"verdicts-{uuid.uuid4().hex}", ray.get_runtime_context().get_node_id()
    place = NodeAffinitySchedulingStrategy(here, soft=False)
    actor: Any = ray.remote(Verdicts).options(name=name, num_cpus=0, scheduling_strategy=place).remote()

    def tell(cell_id: str, epoch: int) -> None:
        ray.get(actor.prune.remote(cell_id, epoch))

    return name, tell


def _tell_none(cell_id: str, epoch: int) -> None:
    """Say nothing: where packs are single cells, a pruned one ends with its Tune trial."""


def _asha(
    grid: Grid,
    jobs: Sequence[Job],
    search: "Search | None",
    store: Store,
    tell: Callable[[str, int], None],
) -> StratifiedASHA:
    """Return the scheduler, with the cells that earlier runs have ended in its rungs."""
    asha = StratifiedASHA(grid, jobs, tell)
    ended = {row["cell_id"] for row in store.read_trials()[0] if row["status"] != "failed"}
    curves = mean_curves(store.read_epochs(), ended - {job.cell.cell_id for job in jobs})
    for cell in search.cells if search else grid.cells(jobs[0].cell.data):
        if cell.cell_id in curves:
            asha.remember(cell, curves[cell.cell_id])
    return asha


def _searched(
    search: "Search",
    jobs: Sequence[Job],
    store: Store,
    resources: Resources,
    asha: StratifiedASHA | None,
    keeper: "_Keeper",
) -> Iterator[Pack | None]:
    """Yield the jobs and what the search suggests, each as a pack; None while as many cells train as fit."""

    def at_once() -> int:
        """Count the cells that fit. On a cluster one more waits: by what waits, Ray's autoscaler adds nodes."""
        return cells_that_fit(resources, [node["Resources"] for node in _nodes()]) + (resources.address is not None)

    def begin(job: Job) -> None:
        store.write_info(with_cell(store.known_info(), job.cell))  # now it is a cell of the study like any other
        if asha:
            asha.expect([job])

    try:
        for job in search.jobs(jobs, at_once, begin):
            yield None if job is None else (job,)
    except StoreError as error:
        keeper.error = error
        raise


class _Packs(Searcher):
    """Hands out the Tune configs of the packs, in their order; where the next is None, it has to wait.

    Tune's own grid search copies the whole grid for each of its trials: ten thousand cells would take hours to begin.
    """

    def __init__(self, packs: Iterator[Pack | None]) -> None:
        super().__init__()
        self._packs = packs

    def suggest(self, trial_id: str) -> Any:
        """Return the config of a pack, None for none now, or FINISHED."""
        try:
            pack = next(self._packs)
        except StopIteration:
            return Searcher.FINISHED
        if pack is None:
            return None
        return {"cells": [{"cell": job.cell.model_dump(), "seeds": list(job.seeds)} for job in pack]}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher to resume an experiment; here the store is what a run resumes from

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing: what a search learns from are the rows that are stored."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the store is what a run resumes from."""


@contextmanager
def connect(resources: Resources) -> Iterator[tuple[Resources, bool]]:
    """Start Ray on this machine, or join a cluster; leave it when done.

    Gives the resources with what depends on the cluster, and whether a node has room for a cell now. The code of
    ``trainables`` goes along to the workers of a cluster, so that they run what is here.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the old output heeds verbose=0
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "200")  # as for Tune's own grid search; for others it is 1
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; silences its warning
    address = resources.address
    if address:
        _check_reachable(address)
    package = str(Path(trainables.__file__).parent)
    how: dict[str, Any] = (
        {"runtime_env": {"py_modules": [package]}}
        if address
        else {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    )
    try:
        level = logging.INFO if is_verbose() else logging.ERROR
        context = ray.init(address or "local", log_to_driver=is_verbose(), logging_level=level, **how)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise LaunchError(f"cannot reach a Ray cluster at {address or 'this machine'}: {first}") from None
    # Their own lines on a lost worker or storage are tracebacks; progress, failed rows and errors say it in a line.
    for name in () if is_verbose() else ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with context:
        yield placed(resources, [node["Resources"] for node in _nodes()])


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _check_reachable(address: str) -> None:
    """Refuse host:port where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:  # "auto" and the like, which Ray resolves
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise LaunchError(
            f"cannot reach a Ray cluster at {address}: {error}; expected host:port of a running head, or leave "
            "--address and RAY_ADDRESS out to use this machine alone"
        ) from None


@dataclass
class _Running:
    """A cell in training: since when, and its records by seed and epoch.

    A pack that goes on from a checkpoint reports some epochs again, with the same bits.
    """

    cell: CellConfig
    seeds: tuple[int, ...]
    started_at: datetime
    records: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)


class _Keeper(tune.Callback, tune.Stopper):
    """Collects the epoch records of every running cell, and stores the rows of one that ends, alone or in its pack.

    What a callback raises, Tune buries in its own error; a StoreError is kept in ``error`` instead, for the caller to
    raise, and ends the run: nothing more is stored.
    """

    def __init__(
        self,
        grid: Grid,
        store: Store,
        device: str,
        progress: Progress,
        heartbeat: Heartbeat,
        outcome: Outcome,
        pruned: Mapping[str, int],
    ) -> None:
        self._grid, self._store, self._device = grid, store, device
        self._progress, self._heartbeat, self._outcome = progress, heartbeat, outcome
        self._pruned = pruned  # the scheduler's, which judges a result before it is shown here
        self._running: dict[str, _Running] = {}
        self._begun: set[str] = set()
        self.kept: Callable[[Sequence[dict[str, Any]]], object] = len  # is shown the rows of each cell that has ended
        self.error: StoreError | None = None
        self.nodes, self._counted_at = len(_nodes()), time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        try:
            self._heartbeat.check()
        except StoreError as error:
            self.error = self.error or error
        if time.monotonic() - self._counted_at > BEAT_S:  # not in the beat's own thread, which may outlive Ray
            self.nodes, self._counted_at = len(_nodes()), time.monotonic()
        return self.error is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to resume an experiment; here the store is what a run resumes from

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._begin(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        for report in result["cells"]:
            cell_id = report["cell_id"]
            if cell_id not in self._running:  # a pack that was set back reports again what is stored already
                continue
            self._running[cell_id].records.update({(r["seed"], r["epoch"]): r for r in report["records"]})
            self._progress.cell_advanced(cell_id, report["epoch"], report["val_accuracy"])
            if report["ended"] or cell_id in self._pruned:
                self._keep(cell_id, "pruned", None)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._progress.cells_set_back(self._begin(trial), self._reason(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        for cell_id in self._begin(trial):
            self._keep(cell_id, "failed", self._reason(trial))

    def _reason(self, trial: Trial) -> str:
        reason = _reason(trial)
        if reason.startswith(StorageNotSharedError.__name__):
            self.error = self.error or StoreError(f"{reason}; give one that all nodes share with --storage")
        return reason

    def _begin(self, trial: Trial) -> list[str]:
        """Note a pack when it is first heard of; return the ids of its cells that have not ended."""
        cells = [(CellConfig.model_validate(part["cell"]), part["seeds"]) for part in trial.config["cells"]]
        now = datetime.now(UTC)  # one for all: by it the forecast knows a pack again
        for cell, seeds in cells:
            if cell.cell_id not in self._begun:
                self._begun.add(cell.cell_id)
                self._running[cell.cell_id] = _Running(cell, tuple(seeds), now)
                self._progress.cell_started(cell.cell_id, self._grid.describe(cell), len(seeds), cell.max_epochs)
        return [cell.cell_id for cell, _ in cells if cell.cell_id in self._running]

    def _keep(self, cell_id: str, otherwise: Literal["pruned", "failed"], error: str | None) -> None:
        """Store the rows of a cell; seeds whose records do not say how they ended were pruned or failed."""
        running = self._running.pop(cell_id)
        result = CellResult(
            cell=running.cell,
            seeds=running.seeds,
            records=tuple(running.records.values()),
            ended=otherwise,
            error=error,
            device=self._device,
            started_at=running.started_at,
            finished_at=datetime.now(UTC),
        )
        try:
            rows = [] if self.error else self._store.write(result)
        except StoreError as error:
            self.error = error
        if self.error:
            return
        self.kept(rows)
        statuses = {row["status"] for row in rows}
        how = next((how for how in ("failed", "pruned") if how in statuses), "finished")
        self._outcome.ended[cell_id] = how
        if how == "failed":
            errors = {f"seed {row['seed']}: {row['error']}" for row in rows if row["status"] == "failed"}
            self._outcome.errors[self._grid.describe(running.cell)] = error or "; ".join(sorted(errors))
        self._progress.cell_ended(cell_id, how)


def _name(trial: Trial) -> str:
    """Name a pack by its first cell, and how many more it has."""
    first, *others = trial.config["cells"]
    cell_id = CellConfig.model_validate(first["cell"]).cell_id
    return f"{cell_id}-and-{len(others)}" if others else cell_id


def _reason(trial: Trial) -> str:
    """Put what a Tune trial last died of into one line; Tune leaves it in a file of this machine."""
    if trial.pickled_error_file is None:
        return _last_error(Path(trial.error_file).read_text())
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    cause = getattr(error, "cause", None)  # of a lost worker, a text; of a task that raised, the exception
    shown = cause if isinstance(cause, Exception) else error
    lines = str(shown).strip().splitlines() or ["no message"]
    if "raised in its creation task" in lines[0]:  # the cell could not begin; a traceback of the worker follows
        return _last_error(str(shown))
    return f"{type(shown).__name__}: {lines[0]}"


def _last_error(text: str) -> str:
    """Return the line that names the last error, less its module, of tracebacks and explanations as Ray writes them."""
    last = re.split(r"^Failure # \d+.*\n", text.strip(), flags=re.MULTILINE)[-1]  # Tune heads each try so
    errors = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception): .*)", last, re.MULTILINE)
    return str(errors[-1] if errors else last.splitlines()[0])
