"""Early stopping of cells: Ray's ASHA, one instance for each stratum."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

from study.grid import Grid
from study.planning import Job
from trainables.config import CellConfig

METRIC, TIME = "val_accuracy", "epoch"


class StratifiedASHA(FIFOScheduler):
    """Stops cells that fall behind others of their stratum; a Tune trial is a cell.

    Two kinds of cells take no part, neither stopped nor a bar to others: protected ones, since a reference that is bad
    in the end may well lead in the beginning, and those that a job adds seeds to, since their mean is over other seeds
    than their rivals' and their first seeds have been let live.
    """

    def __init__(self, grid: Grid, jobs: Iterable[Job]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metric = METRIC
        self._grid = grid
        self._judged = {job.cell.cell_id for job in jobs if job.whole and not grid.protects(job.cell)}
        self._judges: dict[tuple[Any, ...], AsyncHyperBandScheduler] = {}
        self._cells: dict[str, CellConfig] = {}

    def _judge(self, cell: CellConfig) -> AsyncHyperBandScheduler:
        stratum = self._grid.stratum(cell)
        if stratum not in self._judges:
            stopping = self._grid.stopping
            self._judges[stratum] = AsyncHyperBandScheduler(
                time_attr=TIME,
                metric=METRIC,
                mode="max",
                max_t=cell.max_epochs,
                grace_period=min(stopping.grace_period, cell.max_epochs),
                reduction_factor=stopping.reduction_factor,
            )
        return self._judges[stratum]

    def remember(self, cell: CellConfig, curve: Mapping[int, float]) -> None:
        """Let a cell that an earlier run has ended take part by its stored mean accuracies by epoch."""
        if self._grid.protects(cell):
            return
        judge = self._judge(cell)
        # All that ASHA reads of a trial is its id, and of the controller nothing.
        controller, stub = cast(Any, None), cast(Any, SimpleNamespace(trial_id=cell.cell_id))
        judge.on_trial_add(controller, stub)
        for epoch, accuracy in sorted(curve.items()):
            judge.on_trial_result(controller, stub, {TIME: epoch, METRIC: accuracy})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Note which cell the Tune trial is."""
        cell = CellConfig.model_validate(trial.config["cell"])
        if cell.cell_id in self._judged:
            self._cells[trial.trial_id] = cell
            self._judge(cell).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether the cell goes on."""
        cell = self._cells.get(trial.trial_id)
        if cell is None:
            return self.CONTINUE
        return self._judge(cell).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass on that the cell has ended."""
        if cell := self._cells.get(trial.trial_id):
            self._judge(cell).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Pass on that the cell was taken back before it ran."""
        if cell := self._cells.get(trial.trial_id):
            self._judge(cell).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """Return the rungs of every stratum."""
        return "\n".join(f"{stratum}: {judge.debug_string()}" for stratum, judge in self._judges.items())
