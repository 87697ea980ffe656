"""All comparator trainings of a grid on one GPU, in as few stacks as possible, and the ordinary way beside them.

    python -m benchmarks.gpu

It prints four tables. The first has the time of a whole grid: in each round, each stack of cells that differ only in
numbers is trained to its end, with evaluation and early stopping; then one ordinary module is trained and evaluated for
some epochs on the same device. The ordinary time of the whole grid is extrapolated from those epochs. The other tables
have the forms that the convolutions can take, the speed by the rows of a stack, and the speed of processes that share
the device. Neither Ray nor, on a GPU, numba is needed.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from multiprocessing import Queue, get_context
from multiprocessing.synchronize import Barrier
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.plain import single
from study.grid.load import load_grid
from trainables.digits.convolution import by_layers, by_patches
from trainables.digits.mnist import Pool, load_pool
from trainables.digits.pairs import Pairs, draw_split
from trainables.digits.settings import CellConfig
from trainables.engine.device import compute_alike
from trainables.registry import start_training

IDLE_SHARE = 0.25  # of a stack's rows: each time that ended rows are dropped, a graph is captured again
ROWS = [10, 40, 160, 320, 640]
PROCESSES = [1, 4]


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


def forms(device: str, rows: Sequence[int], pairs: int = 100) -> Table:
    """Return the milliseconds that both convolutions take forward and backward, by form and rows of a stack."""
    table = Table("both convolutions, forward and backward, ms", *(f"{count} rows" for count in rows))
    ways = {"groups of one convolution, TF32": by_layers, "groups of one convolution": by_layers, "patches": by_patches}
    for name, way in ways.items():
        torch.backends.cudnn.allow_tf32 = name.endswith("TF32")
        table.add_row(name, *(f"{_time_form(way, device, count, pairs):.3g}" for count in rows))
    compute_alike()
    return table


def _time_form(way: Callable[..., torch.Tensor], device: str, rows: int, pairs: int) -> float:
    generator = torch.Generator().manual_seed(0)
    shapes = ((rows, pairs, 2, 14, 14), (rows, 1, 16, 1, 3, 3), (rows, 1, 16), (rows, 1, 32, 16, 3, 3), (rows, 1, 32))
    images, *parameters = (torch.rand(shape, generator=generator).to(device) for shape in shapes)
    for parameter in parameters:
        parameter.requires_grad_()

    def step() -> None:
        features = way(images, tuple(parameters[:2]), tuple(parameters[2:]), None)
        torch.autograd.grad(features.sum(), parameters)

    replay: Callable[[], None] = step
    if torch.device(device).type == "cuda":
        aside = torch.cuda.Stream()
        with torch.cuda.stream(aside):
            step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        replay = graph.replay
    return 1000 * min(_seconds(replay, device) for _ in range(5))


def by_rows(cells: Sequence[CellConfig], rows: Sequence[int], epochs: int, pool: Pool, device: str) -> Table:
    """Return the epochs of a model per second, by the rows of a stack of one cell."""
    table = Table("rows of a stack", "epochs of one model per second")
    for count in rows:
        training = start_training({cells[0]: range(count)}, pool, device, 1.0)
        for _ in range(2):  # the first captures a graph
            next(training)
        seconds = _seconds(lambda training=training: [next(training) for _ in range(epochs)], device)
        table.add_row(str(count), f"{count * epochs / seconds:,.0f}")
    return table


def shares(cell: CellConfig, seeds: int, processes: Sequence[int], epochs: int, source: str, device: str) -> Table:
    """Return the epochs of a model per second if so many processes train a cell each on one device."""
    table = Table("processes, one cell each", "epochs of one model per second")
    context = get_context("spawn")
    for count in processes:
        barrier, times = context.Barrier(count), context.Queue()
        arguments = (cell, seeds, epochs, source, device, barrier, times)
        started = [context.Process(target=_share, args=arguments) for _ in range(count)]
        for process in started:
            process.start()
        seconds = max(times.get() for _ in started)
        for process in started:
            process.join()
        table.add_row(str(count), f"{count * seeds * epochs / seconds:,.0f}")
    return table


def _share(
    cell: CellConfig, seeds: int, epochs: int, source: str, device: str, barrier: Barrier, times: "Queue[float]"
) -> None:
    training = start_training({cell: range(seeds)}, load_pool(source), device, 1.0)
    for _ in range(2):
        next(training)
    barrier.wait()
    times.put(_seconds(lambda: [next(training) for _ in range(epochs)], device))


def _seconds(what: Callable[[], object], device: str) -> float:
    _wait(device)
    started = time.perf_counter()
    what()
    _wait(device)
    return time.perf_counter() - started


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
    some_epochs: Annotated[int, typer.Option(min=1, help="Of the tables by rows and by processes.")] = 5,
    rows: Annotated[list[int], typer.Option(help="Rows of a stack; may be given several times.")] = ROWS,
    processes: Annotated[list[int], typer.Option(help="Processes that share the device, likewise.")] = PROCESSES,
    data_dir: Annotated[str | None, typer.Option(help="Train on all of MNIST, from this folder.")] = None,
) -> None:
    """Measure both ways and print them."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter(
            "there is no CUDA device here; give --device cpu to see how it runs", param_hint=device
        )
    compute_alike()  # as in a study
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
    console.print(forms(device, rows))
    console.print(by_rows(stacks[0], rows, some_epochs, pool, device))
    console.print(shares(stacks[0][0], seeds, processes, some_epochs, source, device))


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "this machine's CPU"


def _summary(values: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.4g}", f"{min(values):.4g} to {max(values):.4g}"


if __name__ == "__main__":
    typer.run(main)
