"""A heartbeat's JSON in words and as a table, for live progress and for ``study status``."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from study.words import format_counts, format_duration

if TYPE_CHECKING:
    from analysis.stored import StoredMetric


def describe_progress(report: Mapping[str, Any], done: str = "cells done") -> str:
    """Say in one line how many cells of a run are done, how fast, and how long it will take.

    ``report`` has ``cells`` (None if time ends the run), ``ended`` (cells by status), and
    ``trainings_per_min`` and ``time_left_s`` (None while they are not known).
    """
    from analysis.stored import UNFINISHED

    ended, cells = report["ended"], report["cells"]
    count = sum(ended.values())
    text = f"{count} {done}" if cells is None else f"{count} of {cells} {done}"
    others = format_counts({status: ended.get(status, 0) for status in UNFINISHED})
    text += f", {others}" if others else ""
    rate, left_s = report["trainings_per_min"], report["time_left_s"]
    text += f"; {rate:.1f} trainings/min" if rate else "; starting"
    if left_s is not None and count != cells:
        text += f", about {format_duration(left_s)} left"
    return text


def running_cells_table(cells: Iterable[Mapping[str, Any]], objective: "StoredMetric") -> Table:
    """Draw the cells that are training, as they were when their last epoch ended."""
    validation = f"validation {objective.label}"
    table = Table("running cell", "seeds", "epoch", validation, box=None, header_style="bold")
    for cell in cells:
        epoch = f"{cell['epoch']} of {cell['max_epochs']}"
        # The beat that a driver of an earlier version left behind has no objective.
        table.add_row(cell["label"], str(cell["seeds"]), epoch, objective.format(cell.get("objective")))
    return table
