"""Milliseconds a training step and model: the ordinary ways against the stacked engine, side by side.

    python -m benchmarks.engine

Every way trains epochs of 800 pairs in batches of 100, in turn, round after round, on one thread; the ratio of a way is
the time of the plain module over its own, in the same round. Medians over rounds, with quartiles.
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.plain import BATCH, single, vmapped
from trainables.config import CellConfig
from trainables.memory import keep_freed_memory
from trainables.pairs import draw_split, load_pool
from trainables.training import Training

STACKS = (1, 2, 5, 10, 20, 40)


def main(
    rounds: Annotated[int, typer.Option(min=3)] = 15,
    sharing: bool = True,
    dropout: float = 0.5,
    aux_weight: float = 1.0,
    keep_memory: Annotated[bool, typer.Option(help="Let malloc keep freed memory, as workers do.")] = True,
) -> None:
    """Measure all ways and print them."""
    if keep_memory:
        keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cell = CellConfig(sharing=sharing, dropout=dropout, aux_weight=aux_weight, batch_size=BATCH)
    pool = load_pool(cell.data)
    pairs = draw_split(pool, 0, cell.train_pairs, cell.test_pairs, cell.validation_share).train
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "plain module": (1, single(pairs, sharing, dropout, aux_weight, tuned=False)),
        "tuned single module": (1, single(pairs, sharing, dropout, aux_weight, tuned=True)),
        "vmap, K = 10": (10, vmapped(pairs, 10, sharing, dropout, aux_weight)),
    }
    for count in STACKS:
        ways[f"this engine, K = {count}"] = (count, Training({cell: range(count)}, pool).train_epoch)
    steps = len(pairs.images) // BATCH
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (models, epoch) in ways.items():
            started = time.perf_counter()
            epoch()
            if number:  # the first round warms up
                times[name].append(1000 * (time.perf_counter() - started) / steps / models)
    table = Table("way", "ms a step and model", "quartiles", "times as fast as plain", "quartiles")
    for name, measured in times.items():
        ratios = [plain / own for plain, own in zip(times["plain module"], measured, strict=True)]
        table.add_row(name, *_summary(measured), *_summary(ratios))
    console = Console()
    console.print(table)
    console.print(f"n = {rounds} rounds, sharing {sharing}, dropout {dropout:g}, one thread, torch {torch.__version__}")


def _summary(values: list[float]) -> tuple[str, str]:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f}", f"{low:.2f} to {high:.2f}"


if __name__ == "__main__":
    typer.run(main)
