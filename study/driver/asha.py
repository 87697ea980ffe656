"""Early stopping of cells, alone or in packs: Ray's ASHA, one instance for each stratum."""

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

from study.grid.grid import Grid
from study.plan.jobs import Job
from trainables.config import CellSettings
from trainables.registry import read_cell

METRIC, TIME = "val_accuracy", "epoch"


class StratifiedASHA(FIFOScheduler):
    """Stops cells that fall behind others of their stratum; a Tune trial is a pack of cells.

    The cells of a result are judged one after another, in its order, as if each had a Tune trial of its own: how cells
    are packed decides only in which order they report. Two kinds of cells take no part, neither stopped nor a bar to
    others: protected ones, since a reference that is bad in the end may well lead in the beginning, and those that a
    job adds seeds to, since their mean is over other seeds than their rivals' and their first seeds have been let live.

    ``pruned`` has the epoch of each pruned cell by its id. ``tell`` is called with both before the pack goes on, unless
    no cell of it is left: then its Tune trial is stopped.
    """

    def __init__(self, grid: Grid, jobs: Iterable[Job], tell: Callable[[str, int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._grid, self._tell = grid, tell
        self._judged: dict[str, CellSettings] = {}
        self.expect(jobs)
        self._judges: dict[tuple[Any, ...], AsyncHyperBandScheduler] = {}
        self._ended: set[str] = set()
        self.pruned: dict[str, int] = {}

    def expect(self, jobs: Iterable[Job]) -> None:
        """Let the cells of jobs take part, before they train."""
        self._judged |= {job.cell.cell_id: job.cell for job in jobs if job.whole and not self._grid.protects(job.cell)}

    def _judge(self, cell: CellSettings) -> AsyncHyperBandScheduler:
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

    def remember(self, cell: CellSettings, curve: Mapping[int, float]) -> None:
        """Let a cell that an earlier run has ended take part by its stored mean accuracies by epoch."""
        if self._grid.protects(cell):
            return
        self._judge(cell).on_trial_add(NO_CONTROLLER, _stub(cell.cell_id))
        for epoch, accuracy in sorted(curve.items()):
            self._judge(cell).on_trial_result(NO_CONTROLLER, _stub(cell.cell_id), {TIME: epoch, METRIC: accuracy})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let the cells of a pack take part."""
        for cell_id in self._members(trial):
            self._judge(self._judged[cell_id]).on_trial_add(NO_CONTROLLER, _stub(cell_id))

    def _members(self, trial: Any) -> list[str]:
        """Return the ids of the cells of a pack that are judged."""
        ids = [read_cell(part["cell"]).cell_id for part in trial.config["cells"]]
        return [cell_id for cell_id in ids if cell_id in self._judged]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge the cells of a pack; decide whether it goes on."""
        reported = [report for report in result["cells"] if report["cell_id"] not in self._ended]
        going_on = [report["cell_id"] for report in reported if self._goes_on(report)]
        if not going_on:
            return self.STOP
        for report in reported:
            if report["cell_id"] in self.pruned:
                self._tell(report["cell_id"], self.pruned[report["cell_id"]])
        return self.CONTINUE

    def _goes_on(self, report: Mapping[str, Any]) -> bool:
        """Take in a cell's result."""
        cell_id, ended = report["cell_id"], report["ended"]
        if cell_id in self._judged:
            judge = self._judge(self._judged[cell_id])
            own = {TIME: report[TIME], METRIC: report[METRIC]}
            if ended:
                judge.on_trial_complete(NO_CONTROLLER, _stub(cell_id), own)
            elif judge.on_trial_result(NO_CONTROLLER, _stub(cell_id), own) == self.STOP:
                self.pruned[cell_id], ended = report[TIME], True
        if ended:
            self._ended.add(cell_id)
        return not ended

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take in the last result of a pack, which Tune shows only here, or here again."""
        for report in result["cells"]:
            if report["cell_id"] not in self._ended:
                self._goes_on(report)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Let the cells of a pack that was taken back before it ran take no part."""
        for cell_id in self._members(trial):
            self._judge(self._judged[cell_id]).on_trial_remove(NO_CONTROLLER, _stub(cell_id))

    def debug_string(self) -> str:
        """Return the rungs of every stratum."""
        return "\n".join(f"{stratum}: {judge.debug_string()}" for stratum, judge in self._judges.items())


NO_CONTROLLER = cast(Any, None)  # ASHA reads nothing of it


def _stub(cell_id: str) -> Any:
    """Stand for a cell as a Tune trial: all that ASHA reads of one is its id."""
    return SimpleNamespace(trial_id=cell_id)
