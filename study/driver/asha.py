"""Early stopping of cells, each alone or in packs: Ray's ASHA, one for each stratum."""

import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import ray
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.plan.earlier_cells import EarlyStopping
from study.plan.jobs import Job
from study.plan.packs import cell_ids
from trainables.tune_cell import Verdicts

METRIC, TIME = "objective", "epoch"
Tell = Callable[[str, int], None]


class StratifiedASHA(FIFOScheduler):
    """Stops cells that fall behind others of their stratum; a Tune trial is a pack of cells.

    The cells of a result are judged one after another, in its order, as if each had a Tune
    trial of its own: how cells are packed decides only in which order they report. Two kinds
    take no part, neither stopped nor a bar to others: protected ones, since a reference that
    is bad in the end may well lead in the beginning, and those that a job adds seeds to, since
    their mean is over other seeds than their rivals' and their first seeds were not stopped.

    ``pruned`` has the epoch of each pruned cell by its id. ``tell`` is called with both
    before the pack goes on, unless no cell of it is left: then its Tune trial is stopped.
    """

    def __init__(self, stopping: EarlyStopping, jobs: Iterable[Job], tell: Tell | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stopping, self._tell = stopping, tell
        self._judged: dict[str, Job] = {}
        self._judges: dict[tuple[Any, ...], AsyncHyperBandScheduler] = {}
        self._ended: set[str] = set()
        self.pruned: dict[str, int] = {}
        self.expect(jobs)
        for job, curve in stopping.ended:
            if not job.protected:
                self._remember(job, curve)

    def expect(self, jobs: Iterable[Job]) -> None:
        """Let the cells of jobs take part, before they train."""
        self._judged |= {job.cell.cell_id: job for job in jobs if job.whole and not job.protected}

    def _judge(self, job: Job) -> AsyncHyperBandScheduler:
        if job.stratum not in self._judges:
            longest = max(self._stopping.max_epochs, job.cell.max_epochs)
            self._judges[job.stratum] = AsyncHyperBandScheduler(
                time_attr=TIME,
                metric=METRIC,
                mode=self._stopping.goal,
                max_t=longest,
                grace_period=min(self._stopping.grace_period, longest),
                reduction_factor=self._stopping.reduction_factor,
            )
        return self._judges[job.stratum]

    def _remember(self, job: Job, curve: Mapping[int, float]) -> None:
        """Let a cell that an earlier run has ended take part by its curve."""
        judge, stub = self._judge(job), _stub(job.cell.cell_id)
        judge.on_trial_add(NO_CONTROLLER, stub)
        for epoch, value in sorted(curve.items()):
            judge.on_trial_result(NO_CONTROLLER, stub, {TIME: epoch, METRIC: value})

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let the cells of a pack take part."""
        for cell_id in filter(self._judged.__contains__, cell_ids(trial.config)):
            self._judge(self._judged[cell_id]).on_trial_add(NO_CONTROLLER, _stub(cell_id))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge the cells of a pack; decide whether it goes on."""
        reported = [report for report in result["cells"] if report["cell_id"] not in self._ended]
        # A list, since all cells are to be judged, also after the first that goes on.
        if not any(list(map(self._goes_on, reported))):
            return self.STOP
        for report in reported:
            if report["cell_id"] in self.pruned and self._tell is not None:
                self._tell(report["cell_id"], self.pruned[report["cell_id"]])
        return self.CONTINUE

    def _goes_on(self, report: Mapping[str, Any]) -> bool:
        """Take in the result of one cell; return whether it trains on."""
        cell_id, ended = report["cell_id"], report["ended"]
        # Without a figure of any seed there is nothing to judge by.
        if cell_id in self._judged and not math.isnan(report[METRIC]):
            judge = self._judge(self._judged[cell_id])
            own = {TIME: report[TIME], METRIC: report[METRIC]}
            if ended:
                judge.on_trial_complete(NO_CONTROLLER, _stub(cell_id), own)
            elif judge.on_trial_result(NO_CONTROLLER, _stub(cell_id), own) == self.STOP:
                self.pruned[cell_id] = report[TIME]
                ended = True
        if ended:
            self._ended.add(cell_id)
        return not ended

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take in the last result of a pack, which Tune shows only here, or here again."""
        for report in result["cells"]:
            if report["cell_id"] not in self._ended:
                self._goes_on(report)


NO_CONTROLLER = cast(Any, None)  # ASHA reads nothing of it


def _stub(cell_id: str) -> Any:
    return SimpleNamespace(trial_id=cell_id)  # all that ASHA reads of a Tune trial


def start_verdicts() -> tuple[str, Tell]:
    """Start the actor that tells packs which cells are pruned; return its name and ``tell``."""
    name = f"verdicts-{uuid.uuid4().hex}"
    # On the driver's node it is lost only together with the driver, and ends with it.
    place = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Verdicts).options(name=name, num_cpus=0, scheduling_strategy=place).remote()
    return name, lambda cell_id, epoch: ray.get(actor.prune.remote(cell_id, epoch))
