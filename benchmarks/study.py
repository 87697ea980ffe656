"""Wall time of a study, in turn by `study run` and by a script that follows Ray Tune's tutorial.

    python -m benchmarks.study

Both train four cells with ten seeds for twenty epochs, on all cores of this machine; the time is from the start of
Python to its end. A second table shows where the time of a longer study (grid full, some two minutes) goes.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.tutorial import AUX_WEIGHTS, DROPOUTS


def write_grid(folder: Path, epochs: int, seeds: int) -> Path:
    """Write the grid file of the cells that benchmarks/tutorial.py trains."""
    grid = {
        "name": "bench",
        "description": "The cells of benchmarks/tutorial.py.",
        "seeds": seeds,
        "factors": {
            "sharing": {"role": "fixed", "values": [True]},
            "dropout": {"role": "scientific", "values": list(DROPOUTS)},
            "aux_weight": {"role": "tuned", "values": list(AUX_WEIGHTS)},
        },
        "protocol": {"max_epochs": epochs, "stop_patience": epochs},  # no training ends early
        "stopping": {"scheduler": "none"},
    }
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return path


def run_study(folder: Path, epochs: int, seeds: int) -> None:
    """Train the cells with this project."""
    grid = write_grid(folder, epochs, seeds)
    _python("study", "run", "--grid", grid, "--storage", folder)


def run_tutorial(folder: Path, epochs: int, seeds: int) -> None:
    """Train the cells with the script."""
    _python("benchmarks.tutorial", "--epochs", epochs, "--seeds", seeds, folder / "results.csv")


WAYS = {"script of the tutorial": run_tutorial, "study run": run_study}


def compare(rounds: int, epochs: int, seeds: int) -> Table:
    """Time both ways in turn, round after round."""
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                way(Path(folder), epochs, seeds)
                times[name].append(time.perf_counter() - began)
    first = next(iter(times.values()))
    trainings = len(AUX_WEIGHTS) * len(DROPOUTS) * seeds
    table = Table("way", "wall time s", "lowest to highest", "times as fast", "lowest to highest")
    table.title = f"{trainings} trainings of {epochs} epochs, n = {rounds} rounds"
    for name, own in times.items():
        ratios = [other / mine for other, mine in zip(first, own, strict=True)]
        table.add_row(name, *_summary(own, 1), *_summary(ratios, 2))
    return table


def shares(grid: str) -> Table:
    """Run a grid, and show where its time went."""
    with tempfile.TemporaryDirectory() as folder:
        began = pd.Timestamp.now("UTC")
        _python("study", "run", "--grid", grid, "--scheduler", "none", "--storage", folder)
        ended = pd.Timestamp.now("UTC")
        (trials,) = (pd.read_parquet(path) for path in Path(folder).glob("*/trials"))
    wall_s = (ended - began).total_seconds()
    table = Table("what", "seconds of wall time", "share")
    table.title = f"study run --grid {grid} --scheduler none: {len(trials)} trainings, {wall_s:.0f} s, n = 1"
    for what, seconds in spent(trials, began, ended).items():
        table.add_row(what, f"{seconds:.1f}", f"{seconds / wall_s:.1%}")
    return table


def spent(trials: pd.DataFrame, began: pd.Timestamp, ended: pd.Timestamp) -> dict[str, float]:
    """Divide the wall time of a run, in seconds, by what its rows say.

    As many cells are taken to train at once as ever overlapped.
    """
    cells = trials.groupby("cell_id").agg(
        started=("started_at", "min"), finished=("finished_at", "max"), trained_s=("train_time_s", "sum")
    )
    at_once = max(((cells["started"] <= at) & (cells["finished"] > at)).sum() for at in cells["started"])
    first, last = cells["started"].min(), cells["finished"].max()
    held_s = (cells["finished"] - cells["started"]).dt.total_seconds().sum() / at_once
    trained_s = cells["trained_s"].sum() / at_once
    return {
        "training and evaluation": trained_s,
        "start of Python, Ray and the store": (first - began).total_seconds(),
        "actors, reports, checkpoints, rows": held_s - trained_s,
        "cores without a cell, most of it at the end": (last - first).total_seconds() - held_s,
        "shutdown": (ended - last).total_seconds(),
    }


def _python(*arguments: object) -> None:
    run = subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{arguments[0]} ended with exit code {run.returncode}:\n{run.stdout}{run.stderr}")


def _summary(values: list[float], digits: int) -> tuple[str, str]:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    seeds: Annotated[int, typer.Option(min=1)] = 10,
    grid: Annotated[str, typer.Option(help="The grid whose time is divided.")] = "full",
) -> None:
    """Measure and print both."""
    console = Console()
    console.print(compare(rounds, epochs, seeds))
    console.print(shares(grid))


if __name__ == "__main__":
    typer.run(main)
