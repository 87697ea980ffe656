"""Trains the jobs of a plan on Ray Tune: one Tune trial a pack of cells, rows stored as soon as a cell ends."""

import logging
import os
import socket
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import trainables
from study.grid import Grid
from study.heartbeat import Heartbeat
from study.keeper import Keeper, Outcome, live_nodes
from study.planning import Job, Pack, packs_of
from study.progress import Progress
from study.resources import LaunchError, Resources, placed
from study.screen import is_verbose
from study.stopping import StratifiedASHA
from study.store import Store, mean_curves
from study.tracking import ENVIRONMENT, tracking_by
from trainables.models import package_of, read_cell
from trainables.tune_cell import PackTrainable, Verdicts

CHECKPOINT_EVERY = 10  # epochs


def run_jobs(
    grid: Grid,
    jobs: Sequence[Job],
    store: Store,
    scheduler: str,
    resources: Resources,
    progress: Progress,
    heartbeat: Heartbeat,
    trainable: type[PackTrainable] | None = None,
    trackers: Collection[str] = (),
) -> Outcome:
    """Train all jobs on the Ray of ``connect``; return when all have ended, or when the user interrupted (then some are
    not in the outcome).

    Raises StoreError where the storage fails, or where another driver has taken the study.
    """
    outcome = Outcome()
    packs = packs_of(jobs, grid, resources.cells_in_a_pack(jobs))
    verdicts, tell = _verdicts() if scheduler == "asha" and len(packs) < len(jobs) else (None, _tell_none)
    asha = _asha(grid, jobs, store, tell) if scheduler == "asha" else None
    tracking = tracking_by(trackers, store.study)
    pruned = asha.pruned if asha else {}
    keeper = Keeper(grid, store, resources.device, progress, heartbeat, outcome, pruned, tracking)
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
                search_alg=_Packs(packs),
                num_samples=len(packs),
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
        finally:
            tracking.close()
            outcome.errors.update(tracking.errors)
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


def _asha(grid: Grid, jobs: Sequence[Job], store: Store, tell: Callable[[str, int], None]) -> StratifiedASHA:
    """Return the scheduler, with the cells that earlier runs have ended in its rungs."""
    asha = StratifiedASHA(grid, jobs, tell)
    ended = {row["cell_id"] for row in store.read_trials()[0] if row["status"] != "failed"}
    curves = mean_curves(store.read_epochs(), ended - {job.cell.cell_id for job in jobs})
    for cell in grid.cells(getattr(jobs[0].cell, "data", None)):
        if cell.cell_id in curves:
            asha.remember(cell, curves[cell.cell_id])
    return asha


class _Packs(Searcher):
    """Hands out the Tune configs of the packs, in their order.

    Tune's own grid search copies the whole grid for each of its trials: ten thousand cells would take hours to begin.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        super().__init__()
        self._packs = iter(packs)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        pack = next(self._packs, None)
        if pack is None:
            return None
        return {"cells": [{"cell": job.cell.model_dump(), "seeds": list(job.seeds)} for job in pack]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing: no pack depends on how another ended."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the store is what a run resumes from."""


@contextmanager
def connect(resources: Resources, models: Iterable[str] = ()) -> Iterator[tuple[Resources, bool]]:
    """Start Ray on this machine, or join a cluster; leave it when done.

    Gives the resources with what depends on the cluster, and whether a node has room for a cell now. The code of
    ``trainables``, and of models of one's own, goes along to the workers of a cluster, so that they run what is here.
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
    packages = {str(Path(trainables.__file__).parent), *map(package_of, models)}
    how: dict[str, Any] = (
        {"runtime_env": {"py_modules": sorted(packages)}}
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
        yield placed(resources, [node["Resources"] for node in live_nodes()])


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


def _name(trial: Trial) -> str:
    """Name a pack by its first cell, and how many more it has."""
    first, *others = trial.config["cells"]
    cell_id = read_cell(first["cell"]).cell_id
    return f"{cell_id}-and-{len(others)}" if others else cell_id
