"""Trains the jobs of a plan on Ray Tune: one Tune trial a pack of cells, rows stored as soon as a cell ends."""

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.driver.asha import StratifiedASHA
from study.driver.progress import Progress
from study.driver.ray_cluster import live_nodes
from study.driver.recorder import Keeper, Outcome
from study.driver.tracking import tracking_by
from study.grid.grid import Grid
from study.plan.jobs import Job
from study.plan.packs import Pack, packs_of
from study.plan.resources import Resources, cells_that_fit
from study.store.files import StoreError
from study.store.heartbeat import Heartbeat
from study.store.store import Store, mean_curves
from study.store.study_json import with_cell
from trainables.registry import read_cell
from trainables.tune_cell import PackTrainable, Verdicts

if TYPE_CHECKING:  # only a search needs Optuna
    from study.plan.search import Search

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
    tracking = tracking_by(trackers, store.study)
    pruned = asha.pruned if asha else {}
    keeper = Keeper(grid, store, resources.device, progress, heartbeat, outcome, pruned, tracking)
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
    for cell in search.cells if search else grid.cells(getattr(jobs[0].cell, "data", None)):
        if cell.cell_id in curves:
            asha.remember(cell, curves[cell.cell_id])
    return asha


def _searched(
    search: "Search",
    jobs: Sequence[Job],
    store: Store,
    resources: Resources,
    asha: StratifiedASHA | None,
    keeper: "Keeper",
) -> Iterator[Pack | None]:
    """Yield the jobs and what the search suggests, each as a pack; None while as many cells train as fit."""

    def at_once() -> int:
        """Count the cells that fit. On a cluster one more waits: by what waits, Ray's autoscaler adds nodes."""
        return cells_that_fit(resources, [node["Resources"] for node in live_nodes()]) + (resources.address is not None)

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


def _name(trial: Trial) -> str:
    """Name a pack by its first cell, and how many more it has."""
    first, *others = trial.config["cells"]
    cell_id = read_cell(first["cell"]).cell_id
    return f"{cell_id}-and-{len(others)}" if others else cell_id
