"""Trains the jobs of a plan on Ray Tune: one Tune trial a cell, rows stored as soon as a cell ends."""

import logging
import os
import re
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback, TBXLoggerCallback
from ray.tune.search import Searcher

import trainables
from study.grid import Grid
from study.heartbeat import BEAT_S, Heartbeat
from study.planning import Job
from study.progress import Progress
from study.resources import LaunchError, Resources, placed
from study.rows import CellResult
from study.screen import is_verbose
from study.stopping import StratifiedASHA
from study.storage import StoreError
from study.store import Store, mean_curves
from study.tracking import ENVIRONMENT, Tracking, folder_for
from trainables.config import CellConfig
from trainables.tune_cell import CellTrainable, StorageNotSharedError

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
    trainable: type[CellTrainable] | None = None,
    trackers: Collection[str] = (),
) -> Outcome:
    """Train all jobs on the Ray of ``connect``; return when all have ended, or when the user interrupted (then some are
    not in the outcome).

    Raises StoreError where the storage fails, or where another driver has taken the study.
    """
    outcome = Outcome()
    tracking = _tracking(store.study, trackers)
    keeper = _Keeper(grid, store, resources.device, progress, heartbeat, outcome, tracking)
    asha = _asha(grid, jobs, store) if scheduler == "asha" else None
    share = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial or 0}
    with store.scratch() as (filesystem, folder):
        store.folder.put("scratch/shared", b"")
        heartbeat.report = lambda: progress.snapshot() | {"nodes": keeper.nodes}
        tuner = tune.Tuner(
            tune.with_resources(trainable or CellTrainable, share),
            param_space={
                "device": resources.device,
                "threads": max(1, int(resources.cpus_per_trial)),
                "data_dir": resources.data_dir,
                "epoch_limit_s": resources.epoch_limit_s,
                "marker": (filesystem, f"{folder}/shared"),
            },
            tune_config=tune.TuneConfig(
                search_alg=_Jobs(jobs),
                num_samples=len(jobs),
                scheduler=asha,
                reuse_actors=True,
                trial_name_creator=lambda trial: _cell_of(trial.config).cell_id,
                trial_dirname_creator=lambda trial: _cell_of(trial.config).cell_id,
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
        finally:
            tracking.close()
            outcome.errors.update(tracking.errors)
    if keeper.error is not None:
        raise keeper.error
    return outcome


def _tracking(study: str, trackers: Collection[str]) -> Tracking:
    """Return what logs the cells by Ray's own loggers, each imported only where it is asked for."""
    folder, run = folder_for(study, trackers), f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    loggers: dict[str, LoggerCallback] = {}
    if "tensorboard" in trackers:
        loggers["tensorboard"] = TBXLoggerCallback()  # type: ignore[no-untyped-call]
    if "mlflow" in trackers:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        loggers["mlflow"] = MLflowLoggerCallback((folder / "mlflow").as_uri(), experiment_name=study)
    if "wandb" in trackers:
        from ray.air.integrations.wandb import WandbLoggerCallback

        quiet = {"silent": True, "console": "off", "disable_git": True, "disable_code": True}
        quiet |= dict.fromkeys(("x_disable_stats", "x_disable_meta", "x_disable_machine_info"), True)
        loggers["wandb"] = WandbLoggerCallback(
            study, run, upload_timeout=60, mode="offline", dir=str(folder), settings=quiet
        )
    return Tracking(loggers, folder, run)


def _asha(grid: Grid, jobs: Sequence[Job], store: Store) -> StratifiedASHA:
    """Return the scheduler, with the cells that earlier runs have ended in its rungs."""
    asha = StratifiedASHA(grid, jobs)
    ended = {row["cell_id"] for row in store.read_trials()[0] if row["status"] != "failed"}
    curves = mean_curves(store.read_epochs(), ended - {job.cell.cell_id for job in jobs})
    for cell in grid.cells(jobs[0].cell.data):
        if cell.cell_id in curves:
            asha.remember(cell, curves[cell.cell_id])
    return asha


class _Jobs(Searcher):
    """Hands out the Tune configs of the jobs, in their order.

    Tune's own grid search copies the whole grid for each of its trials: ten thousand cells would take hours to begin.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__()
        self._jobs = iter(jobs)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        job = next(self._jobs, None)
        return None if job is None else {"cell": job.cell.model_dump(), "seeds": list(job.seeds)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing: no job depends on how another ended."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the store is what a run resumes from."""


@contextmanager
def connect(resources: Resources) -> Iterator[tuple[Resources, bool]]:
    """Start Ray on this machine, or join a cluster; leave it when done.

    Gives the resources with what depends on the cluster, and whether a node has room for a cell now. The code of
    ``trainables`` goes along to the workers of a cluster, so that they run what is here.
    """
    os.environ.update(ENVIRONMENT)
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


class _Keeper(tune.Callback, tune.Stopper):
    """Collects the epoch records of every running cell, and stores the rows of one that ends.

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
        tracking: Tracking,
    ) -> None:
        self._grid, self._store, self._device = grid, store, device
        self._progress, self._heartbeat, self._outcome, self._tracking = progress, heartbeat, outcome, tracking
        self._started: dict[str, datetime] = {}
        # By seed and epoch: a cell that goes on from a checkpoint reports some epochs again, with the same bits.
        self._records: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
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
        records = result["records"]
        self._records[trial.trial_id].update({(r["seed"], r["epoch"]): r for r in records})
        self._progress.cell_advanced(trial.trial_id, result["epoch"], result["val_accuracy"])
        self._tracking.cell_advanced(_cell_of(trial.config), result["epoch"], result["val_accuracy"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._keep(trial, "pruned", None)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.trial_id not in self._started:
            self._begin(trial)
        self._progress.cell_set_back(trial.trial_id, self._reason(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._keep(trial, "failed", self._reason(trial))

    def _reason(self, trial: Trial) -> str:
        reason = _reason(trial)
        if reason.startswith(StorageNotSharedError.__name__):
            self.error = self.error or StoreError(f"{reason}; give one that all nodes share with --storage")
        return reason

    def _begin(self, trial: Trial) -> None:
        cell = _cell_of(trial.config)
        self._started.setdefault(trial.trial_id, datetime.now(UTC))
        self._records.setdefault(trial.trial_id, {})
        seeds = len(trial.config["seeds"])
        self._progress.cell_started(trial.trial_id, self._grid.describe(cell), seeds, cell.max_epochs)
        self._tracking.cell_started(cell, seeds)

    def _keep(self, trial: Trial, otherwise: Literal["pruned", "failed"], error: str | None) -> None:
        """Store the rows; seeds whose records do not say how they ended were pruned or failed."""
        if trial.trial_id not in self._started:  # its worker failed before it could begin
            self._begin(trial)
        cell = _cell_of(trial.config)
        result = CellResult(
            cell=cell,
            seeds=tuple(trial.config["seeds"]),
            records=tuple(self._records.pop(trial.trial_id).values()),
            ended=otherwise,
            error=error,
            device=self._device,
            started_at=self._started[trial.trial_id],
            finished_at=datetime.now(UTC),
        )
        try:
            rows = [] if self.error else self._store.write(result)
        except StoreError as error:
            self.error = error
        if self.error:
            return
        statuses = {row["status"] for row in rows}
        how = next((how for how in ("failed", "pruned") if how in statuses), "finished")
        self._outcome.ended[cell.cell_id] = how
        if how == "failed":
            errors = {f"seed {row['seed']}: {row['error']}" for row in rows if row["status"] == "failed"}
            self._outcome.errors[self._grid.describe(cell)] = error or "; ".join(sorted(errors))
        self._progress.cell_ended(trial.trial_id, how)
        self._tracking.cell_ended(cell, how == "failed")


def _cell_of(config: dict[str, Any]) -> CellConfig:
    return CellConfig.model_validate(config["cell"])


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
