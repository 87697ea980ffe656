"""Stores the rows of a cell as soon as it ends, and lets observers hear of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from ray import tune
from ray.tune.experiment import Trial

from analysis.stored import UNFINISHED
from study.driver.failure_reason import failure_reason
from study.driver.progress import Observer
from study.driver.stopper import RunStopper
from study.plan.jobs import Job
from study.plan.packs import cell_ids
from study.store.files import StoreError
from study.store.rows import CellResult
from study.store.store import Store
from trainables.config import TrainingSettings
from trainables.identity import made_by
from trainables.tune_cell import StorageNotSharedError


@dataclass
class RunOutcome:
    """How each cell of a run ended, by its id, and the ``errors`` of failed ones, by label."""

    ended: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass
class _Running:
    """A cell in training: since when, and its records by seed and epoch."""

    job: Job
    started_at: datetime
    # A pack that is set back reports some epochs again.
    records: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)

    def take(self, record: dict[str, Any]) -> None:
        """Add a record; what was reported of later epochs before the pack was set back does not count."""
        seed, epoch = record["seed"], record["epoch"]
        if (seed, epoch) in self.records:
            later = [key for key in self.records if key[0] == seed and key[1] > epoch]
            for key in later:
                del self.records[key]
        self.records[seed, epoch] = record


class Recorder(tune.Callback):
    """Collects the epoch records of running cells, and stores the rows of each that ends.

    ``jobs`` has the jobs that were handed out, by cell id. ``pruned`` is the scheduler's, which
    judges a result before it is shown here. After a StoreError, noted in ``stopper``, nothing is stored.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        store: Store,
        device: str,
        pruned: Mapping[str, int],
        stopper: RunStopper,
        observers: Sequence[Observer],
    ) -> None:
        self._jobs, self._store, self._device = jobs, store, device
        self._objective = store.known_info().goal
        self._pruned, self._stopper, self._observers = pruned, stopper, observers
        self._running: dict[str, _Running] = {}
        self._begun: set[str] = set()
        self.outcome = RunOutcome()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to resume; a run resumes from the store

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Begin the cells of a pack."""
        self._begin(trial)

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """Collect the epochs that a pack reports; store the cells that ended by them."""
        for report in result["cells"]:
            cell_id = report["cell_id"]
            self._check_code(self._jobs[cell_id].cell, report["code_id"])
            # A pack that was set back reports again what is stored already.
            if cell_id not in self._running:
                continue
            for record in report["records"]:
                self._running[cell_id].take(record)
            for observer in self._observers:
                observer.cell_advanced(cell_id, report["epoch"], report["objective"])
            if report["ended"] or cell_id in self._pruned:
                self._end(cell_id, "pruned", None)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Report why a pack is set back to its last checkpoint."""
        running = self._begin(trial)
        reason = self._reason(trial)
        for observer in self._observers:
            observer.cells_set_back(running, reason)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Store what is left of a pack as failed."""
        for cell_id in self._begin(trial):
            self._end(cell_id, "failed", self._reason(trial))

    def _check_code(self, cell: TrainingSettings, trained_by: str) -> None:
        """End the run if a worker has other code than the driver: somebody has edited it meanwhile."""
        if trained_by != (expected := made_by(cell)["code_id"]):
            edited = f"the code of {cell.model} was changed during the run, from {expected} to {trained_by}"
            self._stopper.note(StoreError(f"{edited}; run the same command again, which compares it with the study's"))

    def _reason(self, trial: Trial) -> str:
        reason = failure_reason(trial)
        # The storage is a local folder of each node: without checkpoints the run ends.
        if reason.startswith(StorageNotSharedError.__name__):
            self._stopper.note(StoreError(f"{reason}; give one that all nodes share with --storage"))
        return reason

    def _begin(self, trial: Trial) -> list[str]:
        """Note a pack when first heard of; return the ids of its cells that have not ended."""
        ids = cell_ids(trial.config)
        # One for all: by it the forecast knows which cells were one pack.
        now = datetime.now(UTC)
        for cell_id in ids:
            if cell_id not in self._begun:
                self._begun.add(cell_id)
                self._running[cell_id] = _Running(self._jobs[cell_id], now)
                for observer in self._observers:
                    observer.cell_started(self._jobs[cell_id])
        return list(filter(self._running.__contains__, ids))

    def _end(self, cell_id: str, otherwise: Literal["pruned", "failed"], error: str | None) -> None:
        """Store a cell's rows; ``otherwise`` is for seeds that do not say how they ended."""
        running = self._running.pop(cell_id)
        job = running.job
        result = CellResult(
            cell=job.cell,
            seeds=job.seeds,
            records=tuple(running.records.values()),
            ended=otherwise,
            error=error,
            device=self._device,
            started_at=running.started_at,
            finished_at=datetime.now(UTC),
            factors=job.factors,
            objective=self._objective,
            made_by=made_by(job.cell),
        )
        if self._stopper.error is not None:
            return
        try:
            trials = self._store.write(result)
        except StoreError as problem:
            self._stopper.note(problem)
            return
        statuses = {row["status"] for row in trials}
        # The worst of its seeds says how a cell ended.
        how = next((status for status in reversed(UNFINISHED) if status in statuses), "finished")
        self.outcome.ended[cell_id] = how
        if how == "failed":
            errors = {f"seed {row['seed']}: {row['error']}" for row in trials if row["status"] == "failed"}
            self.outcome.errors[job.label] = error or "; ".join(sorted(errors))
        for observer in self._observers:
            observer.cell_ended(cell_id, how, trials)
