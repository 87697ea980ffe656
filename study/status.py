"""How a study is getting on, read from its storage alone: from any machine that sees it, without Ray."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from study.grid import format_value
from study.heartbeat import BEAT_S, PATIENCE, Heartbeat
from study.progress import format_duration
from study.ranges import Budget
from study.rows import FINISHED
from study.store import Store


@dataclass(frozen=True)
class Status:
    """A study at a moment: planned trials, trials by status, failures, and its driver's last beat, if one runs it.

    ``failures`` has the settings of a cell and its last error; ``unreadable`` names files. ``beat_age_s`` is the time
    since the last beat by this machine's clock. Of a search, ``planned`` has the cells suggested so far, and ``search``
    says what its budget is.
    """

    study: str
    planned: int
    trials: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]
    unreadable: tuple[str, ...]
    beat: Mapping[str, Any] | None
    beat_age_s: float | None
    search: str = ""


def read_status(store: Store) -> Status:
    """Read a study's status; raise StoreError where there is no such study."""
    info = store.known_info()
    rows, unreadable = store.read_trials("cell_id", "error", "finished_at")
    beat = Heartbeat.read(store.folder)
    age = None if beat is None else (datetime.now(UTC) - datetime.fromisoformat(beat["beat_at"])).total_seconds()
    return Status(
        study=store.study,
        planned=len(info["cells"]) * len(info["seeds"]),
        trials=Counter("finished" if row["status"] in FINISHED else row["status"] for row in rows),
        failures=_failures(info, rows),
        unreadable=tuple(unreadable),
        beat=beat,
        beat_age_s=age,
        search=_searching(info),
    )


def _searching(info: Mapping[str, Any]) -> str:
    if "search" not in info:
        return ""
    budget = Budget.model_validate(info["search"]["budget"]).describe()
    return f"a search with a budget of {budget}; it has suggested {len(info['cells'])} cells so far"


def _failures(info: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return each cell with a failed trial once, with the error of the last."""
    failed = {row["cell_id"]: row["error"] for row in sorted(rows, key=_finished_at) if row["status"] == "failed"}
    return tuple(
        (
            ", ".join(f"{name} {format_value(cell[name])}" for name in info["roles"]),
            failed[cell["cell_id"]] or "unknown",
        )
        for cell in info["cells"]
        if cell["cell_id"] in failed
    )


def _finished_at(row: Mapping[str, Any]) -> float:
    return 0.0 if row["finished_at"] is None else float(row["finished_at"].timestamp())


def render_status(status: Status) -> RenderableType:
    """Draw the status."""
    held = sum(status.trials.values())
    counts = [f"{status.trials[name]} {name}" for name in ("finished", "pruned", "failed") if status.trials.get(name)]
    missing = [f"{status.planned - held} not trained yet"] if held < status.planned else []
    lines: list[RenderableType] = [
        Text(f"{status.study}: of {status.planned} trials " + (", ".join([*counts, *missing]) or "none"))
    ]
    lines += [Text(f"{status.study}: {status.search}")] if status.search else []
    lines += [Text(f"failed: {cell}: {error}", style="red") for cell, error in status.failures]
    lines += [Text(f"{file} cannot be read; run the study again to restore it", "red") for file in status.unreadable]
    return Group(*lines, *_driver_lines(status))


def _driver_lines(status: Status) -> list[RenderableType]:
    beat, age = status.beat, status.beat_age_s
    if beat is None or age is None:
        return [Text("No driver runs it.")]
    who = f"process {beat['pid']} on {beat['host']}, since {beat['started_at']}"
    if age > (PATIENCE + 1) * BEAT_S:
        silent = f"Its driver ({who}) was last heard of {format_duration(age)} ago; if it is dead, run the study again."
        return [Text(silent, "red")]
    if "cells" not in beat:
        return [Text(f"Run by {who}: starting")]
    ended = beat["ended"]
    total = "" if beat["cells"] is None else f" of {beat['cells']}"
    done = f"{sum(ended.values())}{total} cells of this run done"
    others = "".join(f", {ended[how]} {how}" for how in ("pruned", "failed") if ended.get(how))
    rate = f"; {beat['trainings_per_min']:.1f} trainings/min" if beat["trainings_per_min"] else ""
    left = f", about {format_duration(beat['time_left_s'])} left" if beat["time_left_s"] is not None else ""
    lines: list[RenderableType] = [
        Text(f"Run by {who}, nodes: {beat.get('nodes', 'unknown')}"),
        Text(f"{done}{others}{rate}{left}"),
    ]
    if beat["running"]:
        table = Table("running cell", "seeds", "epoch", "validation", box=None, header_style="bold")
        for cell in beat["running"]:
            accuracy = "" if cell["val_accuracy"] is None else f"{100 * cell['val_accuracy']:.1f} %"
            table.add_row(cell["label"], str(cell["seeds"]), f"{cell['epoch']} of {cell['max_epochs']}", accuracy)
        lines.append(table)
    return lines


def status_data(status: Status) -> dict[str, Any]:
    """Return the status as plain JSON values."""
    held = sum(status.trials.values())
    return {
        "study": status.study,
        "planned": status.planned,
        "search": status.search or None,
        "trials": {how: status.trials.get(how, 0) for how in ("finished", "pruned", "failed")},
        "missing": status.planned - held,
        "failures": [{"cell": cell, "error": error} for cell, error in status.failures],
        "unreadable": list(status.unreadable),
        "driver": None if status.beat is None else {**status.beat, "beat_age_s": status.beat_age_s},
    }


def show_status(storage: str, name: str, watch: bool, console: Console, as_json: bool = False) -> None:
    """Print the status of a study; with ``watch``, follow it until no driver runs it, as JSON in a line each time."""
    store = Store(storage, name)
    status = read_status(store)
    if as_json:
        console.print_json(data=status_data(status), indent=None if watch else 1)
        while watch and status.beat is not None:
            time.sleep(BEAT_S)
            status = read_status(store)
            console.print_json(data=status_data(status), indent=None)
        return
    if not watch:
        console.print(render_status(status), soft_wrap=True)
        return
    with Live(render_status(status), console=console, auto_refresh=False) as live:
        while status.beat is not None:
            time.sleep(BEAT_S)
            status = read_status(store)
            live.update(render_status(status), refresh=True)
