"""Reading a large study: time and memory of `study analyze`, `list`, `status` and `plan`, as the study grows.

    python -m benchmarks.analysis

Makes stores of up to 100,000 trials and 8 million epoch rows (benchmarks/made_store.py), then runs each command as a
user does, from Python's start to its end. The files have just been written, so that they are read from memory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


@dataclass(frozen=True)
class Use:
    """What a command took: wall time and processor time in seconds, peak memory in MB."""

    wall_s: float
    cpu_s: float
    memory_mb: float


@dataclass(frozen=True)
class Measured:
    """A store, and what each command on it took, round after round."""

    trials: int
    made_s: float
    files: int
    store_mb: float
    uses: dict[str, list[Use]]


def use_of(arguments: Sequence[str]) -> tuple[Use, str]:
    """Run Python with arguments; return also what it printed. Raise RuntimeError for an exit code other than 0."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        # Only this child's use. Its peak memory starts at that of this process, from which it forks.
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if child.returncode:
        raise RuntimeError(f"{arguments} ended with exit code {child.returncode}:\n{text}")
    return Use(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), text


def measure(trials: int, rounds: int) -> Measured:
    """Make a store of so many trials and run the commands on it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, _ = use_of(["-m", "benchmarks.made_store", str(trials), name])
        files = [path for path in (folder / "made").rglob("*") if path.is_file()]
        commands = {
            "analyze": ["analyze", "made", "--storage", name, "--out", str(folder / "report")],
            "list": ["list", "--storage", name],
            "status": ["status", "made", "--storage", name],
            "plan": ["plan", "--grid", str(folder / "made.yaml"), "--storage", name],
        }
        uses = {
            command: [use_of(["-m", "study", *arguments])[0] for _ in range(rounds)]
            for command, arguments in commands.items()
        }
        store_mb = sum(path.stat().st_size for path in files) / 2**20
        return Measured(trials, made.wall_s, len(files), store_mb, uses)


def show(measured: Measured, console: Console) -> None:
    """Print what was measured on a store."""
    rounds = len(measured.uses["analyze"])
    table = Table("command", "wall s", "lowest to highest", "processor s", "peak MB", box=None)
    table.title = (
        f"{measured.trials:,} trials, {measured.files:,} files of {measured.store_mb:.0f} MB, "
        f"made in {measured.made_s:.0f} s; n = {rounds}"
    )
    for command, uses in measured.uses.items():
        walls = [use.wall_s for use in uses]
        cpu, memory = (statistics.median(getattr(use, name) for use in uses) for name in ("cpu_s", "memory_mb"))
        ends = f"{min(walls):.1f} to {max(walls):.1f}"
        table.add_row(f"study {command}", f"{statistics.median(walls):.1f}", ends, f"{cpu:.1f}", f"{memory:.0f}")
    console.print(table)


def draw(results: Sequence[Measured], out: Path) -> None:
    """Draw time and memory of `study analyze` against the number of trials, as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_ax, memory_ax = figure.subplots(1, 2)
    trials = [result.trials for result in results]
    analyzed = [result.uses["analyze"] for result in results]
    for ax, names, unit, target in (
        (time_ax, {"wall_s": "wall time", "cpu_s": "processor time, all cores"}, "seconds", 10),
        (memory_ax, {"memory_mb": "peak memory"}, "MB", 2000),
    ):
        for (name, label), style in zip(names.items(), ("o-", "s--"), strict=False):
            ax.plot(
                trials, [statistics.median(getattr(use, name) for use in uses) for uses in analyzed], style, label=label
            )
        ax.axhline(target, color="#767676", linewidth=1, linestyle=":", label=f"target at 100,000 trials: {target:,}")
        ax.set(xscale="log", xlabel="trials of 80 epochs", ylabel=unit, ylim=(0, None))
        ax.grid(linewidth=0.4, alpha=0.6)
        ax.legend(fontsize=8, frameon=False)
    figure.suptitle(
        f"study analyze, median of n = {len(analyzed[0])}, {len(os.sched_getaffinity(0))} cores", fontsize=10
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "study"}):
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


def main(
    trials: Annotated[list[int], typer.Option(help="Sizes of stores; may be given more than once.")] = list(SIZES),  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    out: Annotated[Path | None, typer.Option(help="An SVG file for the figure of growth.")] = None,
) -> None:
    """Measure and print; draw if a file is given."""
    console, results = Console(), []
    for number in trials:
        results.append(measure(number, rounds))
        show(results[-1], console)
    if out is not None:  # last: matplotlib's memory in this process would count as the commands'
        draw(results, out)


if __name__ == "__main__":
    typer.run(main)
