"""Keeps what a run reports: a cell's rows are stored as soon as it ends, and an error of the storage ends the run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from ray import tune
from ray.tune.experiment import Trial

from study.driver.failure_reason import _reason
from study.driver.progress import Progress
from study.driver.ray_cluster import live_nodes
from study.driver.tracking import Tracking
from study.grid.grid import Grid
from study.store.files import StoreError
from study.store.heartbeat import BEAT_S, Heartbeat
from study.store.rows import CellResult
from study.store.store import Store
from trainables.config import CellSettings
from trainables.registry import read_cell
from trainables.tune_cell import StorageNotSharedError


@dataclass
class Outcome:
    """How many cells of a run ended in which way; ``errors`` are those of the failed ones, by cell."""

    ended: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def count(self, how: str) -> int:
        """Count the cells that ended so."""
        return list(self.ended.values()).count(how)


@dataclass
class _Running:
    """A cell in training: since when, and its records by seed and epoch.

    A pack that goes on from a checkpoint reports some epochs again, with the same bits.
    """

    cell: CellSettings
    seeds: tuple[int, ...]
    started_at: datetime
    records: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)


class Keeper(tune.Callback, tune.Stopper):
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
        tracking: Tracking,
    ) -> None:
        self._grid, self._store, self._device = grid, store, device
        self._progress, self._heartbeat, self._outcome, self._tracking = progress, heartbeat, outcome, tracking
        self._pruned = pruned  # the scheduler's, which judges a result before it is shown here
        self._running: dict[str, _Running] = {}
        self._begun: set[str] = set()
        self.kept: Callable[[Sequence[dict[str, Any]]], object] = len  # is shown the rows of each cell that has ended
        self.error: StoreError | None = None
        self.nodes, self._counted_at = len(live_nodes()), time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """End no single pack: the scheduler does."""
        return False

    def stop_all(self) -> bool:
        """End the run where the storage fails or another driver has taken the study."""
        try:
            self._heartbeat.check()
        except StoreError as error:
            self.error = self.error or error
        if time.monotonic() - self._counted_at > BEAT_S:  # not in the beat's own thread, which may outlive Ray
            self.nodes, self._counted_at = len(live_nodes()), time.monotonic()
        return self.error is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to resume an experiment; here the store is what a run resumes from

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Begin the cells of a pack."""
        self._begin(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Collect the epochs that a pack reports; store the cells that ended by them."""
        for report in result["cells"]:
            cell_id = report["cell_id"]
            if cell_id not in self._running:  # a pack that was set back reports again what is stored already
                continue
            self._running[cell_id].records.update({(r["seed"], r["epoch"]): r for r in report["records"]})
            self._progress.cell_advanced(cell_id, report["epoch"], report["val_accuracy"])
            self._tracking.cell_advanced(cell_id, report["epoch"], report["val_accuracy"])
            if report["ended"] or cell_id in self._pruned:
                self._keep(cell_id, "pruned", None)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say why a pack is set back to its last checkpoint."""
        self._progress.cells_set_back(self._begin(trial), self._reason(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Store what is left of a pack as failed."""
        for cell_id in self._begin(trial):
            self._keep(cell_id, "failed", self._reason(trial))

    def _reason(self, trial: Trial) -> str:
        reason = _reason(trial)
        if reason.startswith(StorageNotSharedError.__name__):
            self.error = self.error or StoreError(f"{reason}; give one that all nodes share with --storage")
        return reason

    def _begin(self, trial: Trial) -> list[str]:
        """Note a pack when it is first heard of; return the ids of its cells that have not ended."""
        cells = [(read_cell(part["cell"]), part["seeds"]) for part in trial.config["cells"]]
        now = datetime.now(UTC)  # one for all: by it the forecast knows a pack again
        for cell, seeds in cells:
            if cell.cell_id not in self._begun:
                self._begun.add(cell.cell_id)
                self._running[cell.cell_id] = _Running(cell, tuple(seeds), now)
                self._progress.cell_started(cell.cell_id, self._grid.describe(cell), len(seeds), cell.max_epochs)
                self._tracking.cell_started(cell, len(seeds))
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
        self._tracking.cell_ended(cell_id, how == "failed")
