"""What early stopping would have saved and cost, replayed on a study that ran to the end.

    study run --grid full --scheduler none --name complete
    python -m benchmarks.stopping complete

A replay needs no training: the stored curves are fed to the study's own scheduler in the order in which two workers
would report them. It prints, for each setting, the share of the study's epochs that are trained, the cells pruned, and
the largest loss over strata: mean validation accuracy of the best cell less that of the best cell left, in points.
"""

import heapq
from itertools import product
from types import SimpleNamespace
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from study.grid import Grid, load_grid
from study.planning import Job
from study.stopping import METRIC, TIME, StratifiedASHA
from study.store import Store, mean_curves
from trainables.config import CellConfig

WORKERS = 2
FIRST_RUNGS, REDUCTIONS = (10, 20, 30, 40), (2, 3)
Curves = dict[str, dict[int, float]]


def replay(grid: Grid, cells: list[CellConfig], curves: Curves, seeds_by_epoch: pd.Series) -> tuple[int, set[str]]:
    """Return the trained (seed, epoch) count and the pruned cells; ``seeds_by_epoch`` is indexed by cell and epoch."""
    asha = StratifiedASHA(grid, [Job(cell, (0,), whole=True) for cell in cells])
    trials = {c.cell_id: SimpleNamespace(trial_id=c.cell_id, config={"cell": c.model_dump()}) for c in cells}
    for trial in trials.values():
        asha.on_trial_add(None, trial)
    waiting = [(cell.cell_id, 0) for cell in cells]
    clock = [(0.0, worker, waiting.pop(0)) for worker in range(WORKERS)]
    trained, pruned = 0, set()
    while clock:
        now, worker, (cell_id, epoch) = heapq.heappop(clock)
        if epoch:
            trained += seeds_by_epoch[cell_id, epoch]
            result = {TIME: epoch, METRIC: curves[cell_id][epoch]}
            ended = epoch == max(curves[cell_id])
            if ended:
                asha.on_trial_complete(None, trials[cell_id], result)
            elif asha.on_trial_result(None, trials[cell_id], result) == asha.STOP:
                pruned.add(cell_id)
            if ended or cell_id in pruned:
                if not waiting:
                    continue
                cell_id, epoch = waiting.pop(0)
        # An epoch of a stack takes as long as it has seeds.
        heapq.heappush(clock, (now + seeds_by_epoch[cell_id, epoch + 1], worker, (cell_id, epoch + 1)))
    return trained, pruned


def largest_loss(grid: Grid, cells: list[CellConfig], accuracy: pd.Series, pruned: set[str]) -> float:
    """Return the worst loss over strata, in points, among cells with an auxiliary loss."""
    losses = []
    for stratum in {grid.stratum(cell) for cell in cells}:
        rivals = [cell.cell_id for cell in cells if grid.stratum(cell) == stratum and cell.aux_weight > 0]
        left = [cell_id for cell_id in rivals if cell_id not in pruned]
        losses.append(accuracy[rivals].max() - accuracy[left].max())
    return 100 * max(losses)


def main(name: str, storage: str = "studies", grid: Annotated[str, typer.Option()] = "full") -> None:
    """Replay the study NAME, a complete run of the grid, under several settings of ASHA."""
    base, store = load_grid(grid), Store(storage, name)
    epochs = store.read_epochs()
    trials = pd.DataFrame(store.read_trials()[0])
    cells = base.cells()
    if set(trials["cell_id"]) != {cell.cell_id for cell in cells} or "pruned" in set(trials["status"]):
        raise SystemExit(f"{name}: expected every cell of the grid {grid}, none pruned; run it with --scheduler none")
    curves = mean_curves(epochs, [cell.cell_id for cell in cells])
    counts = epochs.to_pandas().groupby(["cell_id", "epoch"]).size()
    accuracy = trials.groupby("cell_id")["val_accuracy"].mean()
    table = Table("first rung", "reduction", "weights", "protected", "epochs trained", "pruned", "largest loss")
    for first, reduction, order, protected in product(
        FIRST_RUNGS, REDUCTIONS, ("large first", "small first"), ("the grid's", "weight 0")
    ):
        changes = {"grace_period": first, "reduction_factor": reduction}
        if protected == "weight 0":
            changes |= {"protect": [{"aux_weight": 0}]}
        tried = base.model_copy(update={"stopping": base.stopping.model_copy(update=changes)})
        sign = -1 if order == "large first" else 1
        ordered = sorted(cells, key=lambda cell: (base.stratum(cell), sign * cell.aux_weight))
        trained, pruned = replay(tried, ordered, curves, counts)
        share = f"{100 * trained / counts.sum():.0f} %"
        loss = f"{largest_loss(tried, ordered, accuracy, pruned):.2f}"
        table.add_row(str(first), str(reduction), order, protected, share, str(len(pruned)), loss)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
