"""What early stopping would have saved and cost, replayed on a study that ran to the end.

    study run --grid full --scheduler none --name complete
    python -m benchmarks.stopping complete

A replay needs no training: the stored curves are fed to the study's own scheduler in the order in which two workers
would report them. It prints three tables: what the grid's own setting does, stratum by stratum; the same scheduler with
single seeds instead of cells, and what that does to the means; and other settings of the scheduler.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from study.driver.asha import METRIC, TIME, StratifiedASHA
from study.grid.grid import Grid
from study.grid.load import load_grid
from study.plan.earlier_cells import EarlyStopping
from study.plan.jobs import plan_job
from study.store.store import Store, mean_curves
from study.words import format_value
from trainables.digits.settings import CellConfig

WORKERS = 2
FIRST_RUNGS, REDUCTIONS = (10, 20, 30, 40), (2, 3)
Curve = Mapping[int, float]


@dataclass(frozen=True)
class Run:
    """What is replayed as one Tune trial: mean accuracies by epoch, and how many seeds each epoch trains."""

    name: str
    cell: CellConfig
    curve: Curve
    seeds: Mapping[int, int]


def replay(grid: Grid, runs: Sequence[Run], workers: int = WORKERS) -> tuple[int, dict[str, int]]:
    """Start the runs in their order; return the epochs trained, added up over seeds, and when runs were pruned."""
    stopping = EarlyStopping(grid.stopping.grace_period, grid.stopping.reduction_factor)
    jobs = [plan_job(grid, run.cell, (0,)) for run in runs]
    asha = StratifiedASHA(stopping, jobs, lambda cell_id, epoch: None)
    trials = {r.name: SimpleNamespace(config={"cells": [{"cell": r.cell.model_dump()}]}) for r in runs}
    for trial in trials.values():
        asha.on_trial_add(None, trial)
    waiting = list(runs)
    clock = [(0.0, worker, waiting.pop(0), 0) for worker in range(min(workers, len(runs)))]
    trained, pruned = 0, {}
    while clock:
        now, worker, run, epoch = heapq.heappop(clock)
        if epoch:
            trained += run.seeds[epoch]
            ended = epoch == max(run.curve)
            report = {"cell_id": run.cell.cell_id, TIME: epoch, METRIC: run.curve[epoch], "ended": ended}
            result = {"cells": [report]}
            if ended:
                asha.on_trial_complete(None, trials[run.name], result)
            elif asha.on_trial_result(None, trials[run.name], result) == asha.STOP:
                pruned[run.name] = epoch
            if ended or run.name in pruned:
                if not waiting:
                    continue
                run, epoch = waiting.pop(0), 0
        # An epoch of a stack takes as long as it has seeds.
        heapq.heappush(clock, (now + run.seeds[epoch + 1], worker, run, epoch + 1))
    return trained, pruned


@dataclass(frozen=True)
class Complete:
    """A complete study: its cells, their runs cell by cell and seed by seed, and accuracies ``[cell_id, seed]``."""

    cells: list[CellConfig]
    cell_runs: dict[str, Run]
    seed_runs: dict[tuple[str, int], Run]
    validation: pd.DataFrame
    test: pd.DataFrame

    @property
    def epochs(self) -> int:
        return sum(sum(run.seeds.values()) for run in self.cell_runs.values())


def load_complete(name: str, storage: str, grid: Grid, grid_name: str) -> Complete:
    """Read a study in which every cell of the grid ran to its end."""
    store = Store(storage, name)
    epochs = store.read_epochs()
    trials = pd.DataFrame(store.read_trials()[0])
    data = store.known_info().protocol.get("data")
    cells = grid.cells(data)
    wanted = {cell.cell_id for cell in cells}
    if not wanted <= set(trials["cell_id"]) or {"pruned", "failed"} & set(trials["status"]):
        raise SystemExit(
            f"{name}: expected every cell of the grid {grid_name}, none pruned; run it with --scheduler none"
        )
    curves = mean_curves(epochs, [cell.cell_id for cell in cells], "val_accuracy")
    frame = epochs.to_pandas()
    counts = frame.groupby(["cell_id", "epoch"]).size()
    by_seed = {
        key: dict(zip(g["epoch"], g["val_accuracy"], strict=True)) for key, g in frame.groupby(["cell_id", "seed"])
    }
    return Complete(
        cells,
        {c.cell_id: Run(c.cell_id, c, curves[c.cell_id], counts[c.cell_id].to_dict()) for c in cells},
        {
            (cell.cell_id, seed): Run(f"{cell.cell_id}/{seed}", cell, curve, dict.fromkeys(curve, 1))
            for cell in cells
            for (cell_id, seed), curve in by_seed.items()
            if cell_id == cell.cell_id
        },
        trials.pivot_table("val_accuracy", "cell_id", "seed"),
        trials.pivot_table("test_accuracy", "cell_id", "seed"),
    )


def _alone(cell: CellConfig, seed: int) -> CellConfig:
    """Return a cell that stands for one seed: a different one to the scheduler, in the same stratum."""
    return cell.model_copy(update={"test_pairs": cell.test_pairs + 1 + seed})


def audit_table(grid: Grid, study: Complete) -> Table:
    """Show what the grid's own setting would have pruned, saved and lost, stratum by stratum."""
    trained, pruned = replay(grid, [study.cell_runs[cell.cell_id] for cell in study.cells])
    validation, test = study.validation.mean(axis=1), study.test.mean(axis=1)
    table = Table("stratum", "cells", "pruned", "the best survives", "validation lost", "test lost", show_lines=True)
    for stratum in dict.fromkeys(grid.stratum(cell) for cell in study.cells):
        rivals = [cell for cell in study.cells if grid.stratum(cell) == stratum]
        left = [cell.cell_id for cell in rivals if cell.cell_id not in pruned]
        best, chosen = validation[[cell.cell_id for cell in rivals]].idxmax(), validation[left].idxmax()
        tuned = [name for name, role in grid.roles.items() if role == "tuned"]
        named = [
            f"{', '.join(f'{name} {format_value(getattr(cell, name))}' for name in tuned)} at {pruned[cell.cell_id]}"
            for cell in rivals
            if cell.cell_id in pruned
        ]
        lost = [f"{100 * (x[best] - x[chosen]):.2f}" for x in (validation, test)]
        where = ", ".join(map(format_value, stratum))
        table.add_row(where, str(len(rivals)), "\n".join(named) or "none", "yes" if best == chosen else "no", *lost)
    share = 1 - trained / study.epochs
    table.caption = (
        f"{trained:,} of {study.epochs:,} epochs trained, {100 * share:.1f} % saved; {len(pruned)} cells pruned"
    )
    return table


def surviving_seeds(grid: Grid, study: Complete, order: Sequence[tuple[str, int]]) -> tuple[float, pd.DataFrame]:
    """Replay single seeds; return the share of epochs trained, and which seeds ``[cell_id, seed]`` survive.

    Protected cells, which nothing prunes, are left out.
    """
    alone = [replace(study.seed_runs[key], cell=_alone(study.seed_runs[key].cell, key[1])) for key in order]
    trained, pruned = replay(grid, alone)
    rivals = [cell.cell_id for cell in study.cells if not grid.protects(cell)]
    alive = {
        cell_id: [study.seed_runs[cell_id, s].name not in pruned for s in study.test.columns] for cell_id in rivals
    }
    return trained / study.epochs, pd.DataFrame.from_dict(alive, orient="index", columns=study.test.columns)


def bias(accuracy: pd.DataFrame, alive: pd.DataFrame) -> pd.Series:
    """Return for each cell the mean accuracy of its surviving seeds minus that of all; NaN if none survives."""
    accuracy = accuracy.loc[alive.index]
    return accuracy.where(alive).mean(axis=1) - accuracy.mean(axis=1)


def seedwise_table(grid: Grid, study: Complete, shuffles: int) -> Table:
    """Show the bias of pruning single seeds: in the order of the grid, and in shuffled ones."""
    keys = list(study.seed_runs)
    table = Table(
        "order", "epochs trained", "no seed", "some seeds", "all seeds", "validation", "test", "largest, test"
    )
    for number in range(shuffles + 1):
        order = keys if not number else [keys[i] for i in np.random.default_rng(number).permutation(len(keys))]
        share, alive = surviving_seeds(grid, study, order)
        left = alive.sum(axis=1)
        some = alive[(left > 0) & (left < alive.shape[1])]
        counts = [(left == 0).sum(), len(some), (left == alive.shape[1]).sum()]
        on_validation, on_test = bias(study.validation, some), bias(study.test, some)
        points = [on_validation.mean(), on_test.mean(), on_test.max()]
        shown = [f"{100 * value:+.2f}" for value in points] if len(some) else ["-"] * 3
        table.add_row(f"shuffle {number}" if number else "grid's", f"{100 * share:.0f} %", *map(str, counts), *shown)
    table.caption = (
        "cells of which no, some and all seeds survive; bias of those with some: accuracy of the surviving seeds "
        "minus that of all, mean over cells, in percentage points"
    )
    return table


def largest_loss(grid: Grid, cells: list[CellConfig], accuracy: pd.Series, pruned: Mapping[str, int]) -> float:
    """Return the worst loss over strata, in points, among cells with an auxiliary loss."""
    losses = []
    for stratum in {grid.stratum(cell) for cell in cells}:
        rivals = [cell.cell_id for cell in cells if grid.stratum(cell) == stratum and cell.aux_weight > 0]
        left = [cell_id for cell_id in rivals if cell_id not in pruned]
        losses.append(accuracy[rivals].max() - accuracy[left].max() if rivals else 0)
    return 100 * max(losses)


def settings_table(base: Grid, study: Complete) -> Table:
    """Compare settings of the scheduler by the epochs they train and the largest loss of any stratum."""
    table = Table("first rung", "reduction", "weights", "protected", "epochs trained", "pruned", "largest loss")
    for first, reduction, order, protected in product(
        FIRST_RUNGS, REDUCTIONS, ("large first", "small first"), ("the grid's", "weight 0")
    ):
        changes = {"grace_period": first, "reduction_factor": reduction}
        if protected == "weight 0":
            changes |= {"protect": [{"aux_weight": 0}]}
        tried = base.model_copy(update={"stopping": base.stopping.model_copy(update=changes)})
        sign = -1 if order == "large first" else 1
        ordered = sorted(study.cells, key=lambda cell: (base.stratum(cell), sign * cell.aux_weight))
        trained, pruned = replay(tried, [study.cell_runs[cell.cell_id] for cell in ordered])
        share = f"{100 * trained / study.epochs:.0f} %"
        loss = f"{largest_loss(tried, ordered, study.validation.mean(axis=1), pruned):.2f}"
        table.add_row(str(first), str(reduction), order, protected, share, str(len(pruned)), loss)
    return table


def main(
    name: str,
    storage: str = "studies",
    grid: Annotated[str, typer.Option()] = "full",
    shuffles: Annotated[int, typer.Option(help="Shuffled orders of the replay by seeds.")] = 10,
) -> None:
    """Audit the study NAME, a complete run of the grid."""
    base = load_grid(grid)
    study = load_complete(name, storage, base, grid)
    console = Console()
    for title, table in (
        ("The grid's own setting", audit_table(base, study)),
        ("The same, pruning single seeds", seedwise_table(base, study, shuffles)),
        ("Other settings", settings_table(base, study)),
    ):
        table.title = title
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
