"""All comparator trainings of a grid on one GPU, in as few stacks as possible, and the ordinary way beside them.

    python -m benchmarks.gpu

Each round has two parts. First, each stack of cells that differ only in numbers is trained to its end, with evaluation
and early stopping. Then one ordinary module is trained and evaluated for some epochs on the same device. The ordinary
time of the whole grid is extrapolated from those epochs, and the table says so. Neither Ray nor, on a GPU, numba is
needed.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.plain import single
from study.grid.load import load_grid
from trainables.digits.mnist import Pool, load_pool
from trainables.digits.pairs import Pairs, draw_split
from trainables.digits.settings import CellConfig
from trainables.registry import start_training

IDLE_SHARE = 0.25  # of a stack's rows: each time that ended rows are dropped, a graph is captured again


def stacks_of(cells: Sequence[CellConfig]) -> list[list[CellConfig]]:
    """Return the comparator's cells, grouped by what can train together."""
    stacks: dict[tuple[object, ...], list[CellConfig]] = defaultdict(list)
    for cell in cells:
        if cell.model == "comparator":
            stacks[cell.stack_key].append(cell)
    return list(stacks.values())


def train_all(stacks: Sequence[Sequence[CellConfig]], seeds: int, pool: Pool, device: str) -> tuple[float, int]:
    """Train all stacks one after another; return seconds and the number of epochs that models were trained for."""
    started = time.perf_counter()
    epochs = 0
    for cells in stacks:
        training = start_training({cell: range(seeds) for cell in cells}, pool, device, IDLE_SHARE)
        epochs += sum(len(records) for records in training)
    _wait(device)
    return time.perf_counter() - started, epochs


def ordinary(cell: CellConfig, pool: Pool, device: str, epochs: int) -> float:
    """Train and evaluate one module, as in the report; return seconds per epoch, after a first one that warms up."""
    split = draw_split(pool, 0, cell.train_pairs, cell.test_pairs, cell.validation_share)
    parts = (split.train, split.validation, split.test)
    train, *evaluated = [Pairs(pairs.images.to(device), pairs.digits.to(device)) for pairs in parts]
    epoch = single(train, cell.sharing, cell.dropout, cell.aux_weight, tuned=False, evaluated=evaluated)
    epoch()
    _wait(device)
    started = time.perf_counter()
    for _ in range(epochs):
        epoch()
    _wait(device)
    return (time.perf_counter() - started) / epochs


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def main(
    grid: str = "full",
    device: str = "cuda",
    seeds: Annotated[int, typer.Option(min=1)] = 10,
    epochs: Annotated[int | None, typer.Option(help="The largest number of epochs; by default the grid's.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    ordinary_epochs: Annotated[int, typer.Option(min=1)] = 5,
    data_dir: Annotated[str | None, typer.Option(help="Train on all of MNIST, from this folder.")] = None,
) -> None:
    """Measure both ways and print them."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter(
            "there is no CUDA device here; give --device cpu to see how it runs", param_hint=device
        )
    torch.backends.cudnn.deterministic = True  # as in a study
    source = "mnist" if data_dir else "mnist5k"
    limit = {} if epochs is None else {"max_epochs": epochs}
    stacks = stacks_of([cell.model_copy(update=limit) for cell in load_grid(grid).cells(source)])
    pool = load_pool(source, data_dir)
    train_all([[cell.model_copy(update={"max_epochs": 1}) for cell in stacks[0]]], seeds, pool, device)  # warms up
    times, rates, ratios = [], [], []
    for _ in range(rounds):
        seconds, trained = train_all(stacks, seeds, pool, device)
        ordinary_s = ordinary(stacks[0][0], pool, device, ordinary_epochs) * trained
        times.append(seconds)
        rates.append(trained / seconds)
        ratios.append(ordinary_s / seconds)
    trainings = seeds * sum(map(len, stacks))
    table = Table("what", "median", "lowest to highest")
    table.title = (
        f"{trainings} trainings of grid {grid} in {len(stacks)} stacks on {_name(device)}, n = {rounds} rounds"
    )
    table.add_row("seconds for all of them", *_summary(times))
    table.add_row("epochs of one model per second", *_summary(rates))
    table.add_row("times as fast as the ordinary way (extrapolated)", *_summary(ratios))
    console = Console()
    console.print(table)
    console.print(f"{trained:,} epochs of a model; torch {torch.__version__}")


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "this machine's CPU"


def _summary(values: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.4g}", f"{min(values):.4g} to {max(values):.4g}"


if __name__ == "__main__":
    typer.run(main)
