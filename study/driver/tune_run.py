"""Trains the jobs of a run on Ray Tune: one Tune trial per pack of cells."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyarrow.fs import FileSystem
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from study.driver.asha import StratifiedASHA, start_verdicts, tell_none
from study.driver.ray_cluster import NodeCount, live_nodes
from study.driver.recorder import Observer, Recorder, RunOutcome
from study.driver.stopper import RunStopper
from study.plan.early_stopping import EarlyStopping
from study.plan.jobs import Job
from study.plan.packs import Pack, cell_ids, pack_config, packs_of
from study.plan.resources import Resources, cells_that_fit
from study.store.files import StoreError
from study.store.store import Store
from study.store.study_json import with_cell
from trainables.tune_cell import PackTrainable

if TYPE_CHECKING:  # only a search needs Optuna
    from study.plan.next_cell import CellSearch

CHECKPOINT_EVERY = 10  # epochs


@dataclass(frozen=True)
class TuneRun:
    """What a run trains and how: its jobs, and after them what a search suggests.

    ``stopping`` is None if no cell is stopped early. ``trainable`` trains a pack.
    """

    jobs: Sequence[Job]
    store: Store
    resources: Resources
    stopping: EarlyStopping | None = None
    search: "CellSearch | None" = None
    trainable: type[PackTrainable] = PackTrainable


def train_on_tune(
    run: TuneRun, observers: Sequence[Observer], nodes: NodeCount, check: Callable[[], None]
) -> RunOutcome:
    """Train on the Ray of ``connect``; return when all cells have ended, or the user has interrupted.

    After an interruption some cells are not in the outcome, or the search is not over.
    Raises StoreError if the storage fails, or if ``check``, which is called often, raises
    it: another driver has taken the study.
    """
    packs = packs_of(run.jobs, run.resources.cells_in_a_pack(run.jobs))
    stopper = RunStopper(check)
    asha, verdicts = _scheduler(run, has_packs=len(packs) < len(run.jobs))
    queue = PackQueue(iter(packs))
    samples = len(packs)
    if run.search is not None:
        # How many cells a search will suggest is not known: Tune asks until the queue has
        # ended.
        queue = PackQueue(_suggested(run, run.search, asha, stopper))
        samples = -1
        observers = [_Learner(run.search), *observers]
    pruned = asha.pruned if asha else {}
    recorder = Recorder(queue.jobs, run.store, run.resources.device, pruned, stopper, observers)

    with run.store.scratch() as (filesystem, folder):
        # Each node has to see this file before it trains, or its results would be lost.
        run.store.folder.put("scratch/shared", b"")
        settings = _pack_settings(run.resources, (filesystem, f"{folder}/shared"), verdicts)
        callbacks = [recorder, nodes]
        tuner = tune.Tuner(
            _with_share(run.trainable, run.resources),
            param_space=settings,
            tune_config=_tune_config(queue, samples, asha),
            run_config=_run_config(run.resources.retries, filesystem, folder, callbacks, stopper),
        )
        _fit(tuner, stopper)
    if stopper.error is not None:
        raise stopper.error
    return recorder.outcome


def _fit(tuner: tune.Tuner, stopper: RunStopper) -> None:
    """Let Tune train; what the stopper has noted is not raised here."""
    try:
        tuner.fit()
    except Exception:
        # Tune reads its own files when it ends, and may stumble over what a failed storage
        # left of them.
        if stopper.error is None:
            raise


def _scheduler(run: TuneRun, has_packs: bool) -> tuple[StratifiedASHA | None, str | None]:
    """Return what stops cells early, if anything does, and the name of the actor that tells packs of it."""
    if run.stopping is None:
        return None, None
    if not has_packs:
        return StratifiedASHA(run.stopping, run.jobs, tell_none), None
    # A pack goes on without the cells that are pruned, so it has to hear which they are.
    verdicts, tell = start_verdicts()
    return StratifiedASHA(run.stopping, run.jobs, tell), verdicts


def _with_share(trainable: type[PackTrainable], resources: Resources) -> Any:
    """Return the trainable with what one pack gets of the machines."""
    share = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial or 0}
    return tune.with_resources(trainable, share)


def _pack_settings(resources: Resources, marker: tuple[FileSystem, str], verdicts: str | None) -> dict[str, Any]:
    """Return what all packs share of the Tune config of ``PackTrainable``."""
    return {
        "device": resources.device,
        "threads": max(1, int(resources.cpus_per_trial)),
        "data_dir": resources.data_dir,
        "epoch_limit_s": resources.epoch_limit_s,
        "marker": marker,
        "verdicts": verdicts,
    }


def _tune_config(queue: "PackQueue", samples: int, asha: StratifiedASHA | None) -> tune.TuneConfig:
    """Return what Tune trains; -1 samples are as many as the queue has."""
    return tune.TuneConfig(
        search_alg=queue,
        num_samples=samples,
        scheduler=asha,
        # Python, PyTorch and the data are then loaded once per process.
        reuse_actors=True,
        trial_name_creator=_name,
        trial_dirname_creator=_name,
    )


def _run_config(
    retries: int, filesystem: FileSystem, folder: str, callbacks: list[tune.Callback], stopper: RunStopper
) -> tune.RunConfig:
    """Return what Tune does beside training; its files are in the study's scratch folder."""
    return tune.RunConfig(
        name="tune",
        storage_path=folder,
        storage_filesystem=filesystem,
        verbose=0,
        callbacks=callbacks,
        stop=stopper,
        failure_config=tune.FailureConfig(max_failures=retries),
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=1, checkpoint_frequency=CHECKPOINT_EVERY, checkpoint_at_end=False
        ),
    )


class _Learner:
    """An observer by which a search learns from the cells that have ended."""

    def __init__(self, search: "CellSearch") -> None:
        self._search = search

    def cell_started(self, job: Job) -> None:
        """Learn nothing: the search has handed out the cell."""

    def cell_advanced(self, cell_id: str, epoch: int, val_accuracy: float) -> None:
        """Learn nothing: a cell counts by its end."""

    def cells_set_back(self, cell_ids: Sequence[str], reason: str) -> None:
        """Learn nothing."""

    def cell_ended(self, cell_id: str, how: str, trials: Sequence[Mapping[str, Any]]) -> None:
        """Hand on the rows of the cell."""
        self._search.learn(trials)


def _suggested(
    run: TuneRun, search: "CellSearch", asha: StratifiedASHA | None, stopper: RunStopper
) -> Iterator[Pack | None]:
    """Yield the jobs and what the search suggests, each as a pack; None while as many cells train as fit."""

    def at_once() -> int:
        """Count the cells that fit. On a cluster one more waits: Ray's autoscaler adds nodes for what waits."""
        fit = cells_that_fit(run.resources, [node["Resources"] for node in live_nodes()])
        return fit if run.resources.address is None else fit + 1

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
        try:
            pack = next(self._packs)
        except StopIteration:
            return Searcher.FINISHED
        if pack is None:
            return None
        self.jobs |= {job.cell.cell_id: job for job in pack}
        return pack_config(pack)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher to resume an experiment; here a run resumes from the store.
        return {}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing: a search learns from the rows that are stored."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: a run resumes from the store."""


def _name(trial: Trial) -> str:
    """Name a pack by its first cell, and by how many more it has."""
    first, *others = cell_ids(trial.config)
    return f"{first}-and-{len(others)}" if others else first
