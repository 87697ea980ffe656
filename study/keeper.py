"""Keeps what a run reports: a cell's rows are stored as soon as it ends, and an error of the storage ends the run."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial

from study.grid import Grid
from study.heartbeat import BEAT_S, Heartbeat
from study.progress import Progress
from study.rows import CellResult
from study.storage import StoreError
from study.store import Store
from study.tracking import Tracking
from trainables.config import CellSettings
from trainables.models import read_cell
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
        statuses = {row["status"] for row in rows}
        how = next((how for how in ("failed", "pruned") if how in statuses), "finished")
        self._outcome.ended[cell_id] = how
        if how == "failed":
            errors = {f"seed {row['seed']}: {row['error']}" for row in rows if row["status"] == "failed"}
            self._outcome.errors[self._grid.describe(running.cell)] = error or "; ".join(sorted(errors))
        self._progress.cell_ended(cell_id, how)
        self._tracking.cell_ended(cell_id, how == "failed")


def live_nodes() -> list[dict[str, Any]]:
    """Return what Ray tells of the nodes that live."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


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
