"""Trains the jobs of a run on Ray Tune: one Tune trial per pack of cells."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyarrow.fs import FileSystem
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from study.driver.asha import StratifiedASHA, start_verdicts
from study.driver.progress import Observer
from study.driver.ray_cluster import NodeCount, live_nodes
from study.driver.recorder import Recorder, RunOutcome
from study.driver.stopper import RunStopper
from study.plan.earlier_cells import EarlyStopping
from study.plan.jobs import Job
from study.plan.packs import Pack, cell_ids, pack_config, packs_of
from study.plan.resources import Resources, packs_that_fit
from study.store.files import StoreError
from study.store.store import Store
from study.store.study_json import with_cell
from trainables.tune_cell import PackTrainable

if TYPE_CHECKING:  # only a search needs Optuna
    from study.plan.next_cell import CellSearch

CHECKPOINT_EVERY = 10  # epochs


@dataclass(frozen=True)
class TuneRun:
    """What a run trains and how: jobs, then what a search suggests; early stopping or None."""

    jobs: Sequence[Job]
    store: Store
    resources: Resources
    stopping: EarlyStopping | None = None
    search: "CellSearch | None" = None


def train_on_tune(
    run: TuneRun, observers: Sequence[Observer], nodes: NodeCount, check: Callable[[], None]
) -> RunOutcome:
    """Train on the Ray of ``connect``; return when all cells have ended, or the user has interrupted.

    After an interruption some cells are not in the outcome, or the search is not over. Raises
    StoreError if the storage fails, or ``check`` raises it: another driver has taken the study.
    """
    packs = packs_of(run.jobs, run.resources.cells_in_a_pack(run.jobs))
    stopper = RunStopper(check)
    # A pack goes on without its pruned cells and has to hear of them; a single cell ends.
    packed = run.stopping is not None and len(packs) < len(run.jobs)
    verdicts, tell = start_verdicts() if packed else (None, None)
    asha = StratifiedASHA(run.stopping, run.jobs, tell) if run.stopping else None
    queue, samples = PackQueue(iter(packs)), len(packs)
    if run.search is not None:
        # Only the search knows how many cells it suggests: Tune asks until the end.
        queue, samples = PackQueue(_suggested(run, run.search, asha, stopper)), -1
        observers = [_Learner(run.search), *observers]
    pruned = asha.pruned if asha else {}
    recorder = Recorder(queue.jobs, run.store, run.resources.device, pruned, stopper, observers)
    with run.store.scratch() as (filesystem, folder):
        # Each node must see this file first: its checkpoints go to the same storage.
        run.store.folder.put("scratch/shared", b"")
        seen = {"marker": (filesystem, f"{folder}/shared"), "verdicts": verdicts}
        tuner = tune.Tuner(
            tune.with_resources(PackTrainable, _bundles(run.resources)),
            param_space=_pack_settings(run) | seen,
            tune_config=_tune_config(queue, samples, asha),
            run_config=_run_config(run, filesystem, folder, [recorder, nodes], stopper),
        )
        try:
            tuner.fit()
        except Exception:
            # At its end Tune reads its own files, which a failed storage may lack.
            if stopper.error is None:
                raise
    if stopper.error is not None:
        raise stopper.error
    return recorder.outcome


def _pack_settings(run: TuneRun) -> dict[str, Any]:
    """Return what all packs share of the Tune config of ``PackTrainable``."""
    resources, options = run.resources, run.resources.options
    settings = {"device": resources.device, "threads": max(1, int(resources.needs["CPU"]))}
    settings |= {"per_seed": resources.per_seed, "objective": run.store.known_info().goal.column("val")}
    return settings | {"data_dir": options.data_dir, "epoch_limit_s": options.epoch_limit}


def _bundles(resources: Resources) -> Callable[[Mapping[str, Any]], tune.PlacementGroupFactory]:
    """Return the function by which Tune learns what a pack needs: a bundle, or one for each of its seeds."""
    needs, per_seed = resources.needs, resources.per_seed

    def bundles(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        if per_seed is None:
            return tune.PlacementGroupFactory([needs])
        seeds = sum(len(part["seeds"]) for part in config["cells"])
        # The first is of the trial's own process, which only waits for its seeds.
        return tune.PlacementGroupFactory([{}, *[per_seed] * seeds])

    return bundles


def _tune_config(queue: "PackQueue", samples: int, asha: StratifiedASHA | None) -> tune.TuneConfig:
    return tune.TuneConfig(
        search_alg=queue,
        num_samples=samples,
        scheduler=asha,
        reuse_actors=True,
        trial_name_creator=_name,
        trial_dirname_creator=_name,
    )


def _run_config(
    run: TuneRun, filesystem: FileSystem, folder: str, callbacks: list[tune.Callback], stopper: RunStopper
) -> tune.RunConfig:
    return tune.RunConfig(
        name="tune",
        storage_path=folder,
        storage_filesystem=filesystem,
        verbose=0,
        callbacks=callbacks,
        stop=stopper,
        failure_config=tune.FailureConfig(max_failures=run.resources.options.retries),
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=1, checkpoint_frequency=CHECKPOINT_EVERY, checkpoint_at_end=False
        ),
    )


class _Learner(Observer):
    """Lets a search learn from the cells that have ended."""

    def __init__(self, search: "CellSearch") -> None:
        self._search = search

    def cell_ended(self, cell_id: str, how: str, trials: Sequence[Mapping[str, Any]]) -> None:
        self._search.learn(trials)


def _suggested(
    run: TuneRun, search: "CellSearch", asha: StratifiedASHA | None, stopper: RunStopper
) -> Iterator[Pack | None]:
    """Yield jobs and what the search suggests, as packs; None while as many train as fit."""

    def at_once() -> int:
        """Count the cells that fit; for one more that waits, Ray's autoscaler adds nodes."""
        fit = packs_that_fit(run.resources, live_nodes(), len(run.store.known_info().seeds))
        return fit + (run.resources.options.address is not None)

    def begin(job: Job) -> None:
        # From now on it is a cell of the study like any other, whatever becomes of this run.
        run.store.write_info(with_cell(run.store.known_info(), job.cell))
        if asha:
            asha.expect([job])

    try:
        for job in search.jobs(run.jobs, at_once, begin):
            yield None if job is None else (job,)
    except StoreError as error:
        stopper.note(error)
        raise


class PackQueue(Searcher):
    """Hands out the Tune configs of packs, in their order; if the next one is None, Tune has to wait.

    Tune's own grid search copies the whole grid for each of its trials: ten thousand cells
    would take hours to begin. ``jobs`` has the jobs that were handed out, by cell id.
    """

    def __init__(self, packs: Iterator[Pack | None]) -> None:
        super().__init__()
        self._packs = packs
        self.jobs: dict[str, Job] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the config of a pack, None if there is none now, or FINISHED."""
        pack = next(self._packs, Searcher.FINISHED)
        if pack is None or isinstance(pack, str):
            return pack
        for job in pack:
            self.jobs[job.cell.cell_id] = job
        return pack_config(pack)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher to resume; a run resumes from the store

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Learn nothing: a search learns from the rows that are stored."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: a run resumes from the store."""


def _name(trial: Trial) -> str:
    first, *others = cell_ids(trial.config)
    return f"{first}-and-{len(others)}" if others else first
