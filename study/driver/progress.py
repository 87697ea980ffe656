"""Observers of a run, and one that shows it: a live table on a terminal, else plain lines."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from analysis.stored import StoredMetric
from study.console import PlainConsole
from study.plan.jobs import Job
from study.run_progress import describe_progress, running_cells_table


class Observer:
    """Follows the cells of a run, named by their ids; by itself it ignores what it hears."""

    def cell_started(self, job: Job) -> None:
        """Take note that a cell trains."""

    def cell_advanced(self, cell_id: str, epoch: int, objective: float) -> None:
        """Take note of an epoch; after a checkpoint, a cell reports some twice."""

    def cells_set_back(self, cell_ids: Sequence[str], reason: str) -> None:
        """Take note that a pack's cells failed, and continue from their last checkpoint."""

    def cell_ended(self, cell_id: str, how: str, trials: Sequence[Mapping[str, Any]]) -> None:
        """Take note that a cell is ``finished``, ``pruned`` or ``failed``, and stored."""


class Progress(Observer):
    """Shows a run of ``cells`` (None: until time is up); ``clock`` returns seconds."""

    def __init__(
        self,
        cells: int | None,
        objective: StoredMetric,
        console: PlainConsole,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cells, self._objective, self._console, self._clock = cells, objective, console, clock
        # When the first cell began: how long Ray takes to start says nothing about cells.
        self._started: float | None = None
        self._running: dict[str, dict[str, Any]] = {}
        self._ended: Counter[str] = Counter()
        self._trained, self._epochs_of_ended = 0, 0
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "Progress":
        if self._console.is_live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console.is_live:
            self._live.stop()
            self._console.print(self.summary())

    def cell_started(self, job: Job) -> None:
        """Show the cell, which maybe trains again after it failed."""
        self._started = self._clock() if self._started is None else self._started
        cell = {"label": job.label, "seeds": len(job.seeds), "max_epochs": job.cell.max_epochs}
        # Where it is: its last epoch, and the mean of the objective over its seeds.
        self._running[job.cell.cell_id] = cell | {"epoch": 0, "objective": None}

    def cells_set_back(self, cell_ids: Sequence[str], reason: str) -> None:
        """Print the reason."""
        others = f" and {len(cell_ids) - 1} cells with it" if len(cell_ids) > 1 else ""
        label = self._running[cell_ids[0]]["label"]
        line = f"{label}{others}: {reason}; it continues from its last checkpoint, or begins again if it has none"
        self._console.print(line)

    def cell_advanced(self, cell_id: str, epoch: int, objective: float) -> None:
        """Show the epoch."""
        # JSON has no NaN: a figure that is missing is null, as in the store.
        self._running[cell_id] |= {"epoch": epoch, "objective": None if math.isnan(objective) else objective}

    def cell_ended(self, cell_id: str, how: str, trials: Sequence[Mapping[str, Any]]) -> None:
        """Count the cell, and print how it ended if there is no live table."""
        cell = self._running.pop(cell_id)
        self._ended[how] += 1
        self._trained += cell["seeds"]
        self._epochs_of_ended += cell["epoch"]
        if not self._console.is_live:
            figure = self._objective.format(cell["objective"])
            validation = f", validation {self._objective.label} {figure}" if figure else ""
            line = f"{cell['label']}: {how} at epoch {cell['epoch']}{validation} | {self.summary()}"
            self._console.print(line)

    def summary(self) -> str:
        """Say in a line how far the run is."""
        return describe_progress(self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        """Return how far the run is as plain JSON values; times in seconds."""
        minutes = self._elapsed_s() / 60
        return {
            "cells": self._cells,
            "ended": dict(self._ended),
            "running": list(map(dict, list(self._running.values()))),
            "trainings_per_min": self._trained / minutes if self._trained and minutes else None,
            "time_left_s": self.time_left_s(),
        }

    def time_left_s(self) -> float | None:
        """Estimate the seconds left by the epochs done; None while nothing is known."""
        ended = sum(self._ended.values())
        done = float(ended)
        # The heartbeat asks from a thread of its own.
        for cell in list(self._running.values()):
            # A cell seldom needs all its epochs: expect of it what the ended ones took.
            expected = self._epochs_of_ended / ended if ended else cell["max_epochs"]
            done += min(cell["epoch"] / max(expected, 1), 0.95)
        if not done or self._cells is None:
            return None
        return self._elapsed_s() * (self._cells - done) / done

    def _elapsed_s(self) -> float:
        return 0 if self._started is None else self._clock() - self._started

    def render(self) -> RenderableType:
        """Draw the running cells and the summary."""
        report = self.snapshot()
        return Group(running_cells_table(report["running"], self._objective), Text(describe_progress(report)))
