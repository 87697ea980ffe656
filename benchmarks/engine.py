"""Milliseconds per training step and model: the ordinary ways against the stacked engine, side by side.

    python -m benchmarks.engine

Every way trains epochs of 800 pairs in batches of 100. The ways take turns, round after round, on one CPU thread; if
there is a GPU, they do the same there. The ratio of a way is the time of the plain module divided by its own, in the
same round. Printed are medians over rounds, with quartiles.
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
from trainables.digits.mnist import load_pool
from trainables.digits.pairs import Pairs, draw_split
from trainables.digits.settings import CellConfig
from trainables.engine.memory import keep_freed_memory
from trainables.registry import start_training

STACKS = (1, 2, 5, 10, 20, 40)
Ways = dict[str, tuple[int, Callable[[], object]]]  # models, and a function that trains them for an epoch


def ways_of(cell: CellConfig, device: str) -> Ways:
    """Return all ways to train a cell, by name."""
    pool = load_pool(cell.data)
    drawn = draw_split(pool, 0, cell.train_pairs, cell.test_pairs, cell.validation_share).train
    pairs = Pairs(drawn.images.to(device), drawn.digits.to(device))
    settings = (cell.sharing, cell.dropout, cell.aux_weight)
    ways: Ways = {
        "plain module": (1, single(pairs, *settings, tuned=False)),
        "tuned single module": (1, single(pairs, *settings, tuned=True)),
        "vmap, K = 10": (10, vmapped(pairs, 10, *settings)),
    }
    for count in STACKS:
        training = start_training({cell: range(count)}, pool, device)
        ways[f"this engine, K = {count}"] = (count, training.train_epoch)
    return ways


def measure(ways: Ways, rounds: int, steps: int, wait: Callable[[], None]) -> dict[str, list[float]]:
    """Return each way's milliseconds per step and model, one value per round; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (models, epoch) in ways.items():
            started = time.perf_counter()
            epoch()
            wait()
            if number:  # the first round compiles and fills caches
                times[name].append(1000 * (time.perf_counter() - started) / steps / models)
    return times


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
    steps = (cell.train_pairs - round(cell.train_pairs * cell.validation_share)) // BATCH
    console = Console()
    devices: dict[str, Callable[[], None]] = {"cpu": lambda: None}
    if torch.cuda.is_available():
        devices["cuda"] = torch.cuda.synchronize
    for device, wait in devices.items():
        times = measure(ways_of(cell, device), rounds, steps, wait)
        table = Table("way", "ms per step and model", "quartiles", "times as fast as plain", "quartiles")
        table.title = "CPU, one thread"
        if device == "cuda":
            table.title = torch.cuda.get_device_name()
        for name, measured in times.items():
            ratios = [plain / own for plain, own in zip(times["plain module"], measured, strict=True)]
            table.add_row(name, *_summary(measured), *_summary(ratios))
        console.print(table)
    console.print(f"n = {rounds} rounds, sharing {sharing}, dropout {dropout:g}, torch {torch.__version__}")


def _summary(values: list[float]) -> tuple[str, str]:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f}", f"{low:.2f} to {high:.2f}"


if __name__ == "__main__":
    typer.run(main)
