"""What early stopping has to know of a grid, and of the cells that earlier runs have ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from study.plan.jobs import Job, plan_job
from study.plan.run_options import Work
from study.store.store import mean_curves


@dataclass(frozen=True)
class EarlyStopping:
    """How ASHA stops cells: from ``grace_period`` on, one in ``reduction_factor`` goes on."""

    grace_period: int
    reduction_factor: int
    goal: Literal["max", "min"] = "max"
    # Cells that earlier runs have ended, with their mean objectives by epoch. They
    # take part: a resumed run sets its bar as a run in one go would.
    ended: tuple[tuple[Job, Mapping[int, float]], ...] = ()
    max_epochs: int = 0  # of the longest training; ASHA stops all at the epoch that it takes for the last


def early_stopping(work: Work, jobs: Iterable[Job]) -> EarlyStopping:
    """Return how a run of these jobs stops cells early; reads the stored learning curves."""
    ended = {row["cell_id"] for row in work.store.read_trials()[0] if row["status"] != "failed"}
    # A cell that only gets more seeds takes no part: its rivals have other seeds.
    objective = work.info.goal.column("val")
    curves = mean_curves(work.store.read_epochs(), ended - {job.cell.cell_id for job in jobs}, objective)
    remembered = []
    for cell in work.cells:
        if cell.cell_id in curves:
            remembered.append((plan_job(work.grid, cell, ()), curves[cell.cell_id]))
    rule = work.grid.stopping
    goal = work.grid.objective_metric.goal
    longest = max(cell.max_epochs for cell in (*work.cells, *work.outermost_cells))
    return EarlyStopping(rule.grace_period, rule.reduction_factor, goal, tuple(remembered), longest)
