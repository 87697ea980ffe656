"""The commands ``study list``, ``status`` and ``analyze``."""

import gc
import time
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from study.cli.completion import complete_study
from study.cli.help import epilog
from study.cli.parameters import AsJson, Storage, StudyName
from study.console import PlainConsole, answer, print_json, tell_unreadable
from study.plan.run_options import RunOptions
from study.run_progress import describe_progress, running_cells_table
from study.words import format_counts, format_duration

if TYPE_CHECKING:
    from study.store.status import StudyStatus
    from study.store.store import Store

app = typer.Typer()

# As analysis.output.page has them, which takes a second to import.
Format = StrEnum("Format", ["html", "md", "csv", "tex", "svg", "png"])


@app.command("list", epilog=epilog("list"))
def list_studies(storage: Storage = RunOptions.storage, as_json: AsJson = False) -> None:
    """List the studies in a storage, with how many of their trials are done."""
    from analysis.stored import COUNTED
    from study.store.status import count_trials

    studies = list(count_trials(storage))
    for study in studies:
        tell_unreadable(study["unreadable"], f"{study['study']}: ")
        study["unreadable"] = list(study["unreadable"])
    if as_json:
        print_json(studies)
    elif studies:
        counted = (*COUNTED, "missing")
        table = Table("study", "grid", "cells", *counted, box=None, header_style="bold")
        for study in studies:
            counts = [str(study[how]) for how in counted]
            table.add_row(study["study"], study["grid"], _cell_count(study), *counts)
        answer(table)
    else:
        answer(f"No study in {storage}. To start one, run: study run --grid smoke")


@app.command(epilog=epilog("status"))
def status(
    name: StudyName,
    storage: Storage = RunOptions.storage,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until no run is in progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a study is, from any machine that sees the storage."""
    show_status(storage, name, watch, as_json)


@app.command(epilog=epilog("analyze"))
def analyze(
    name: Annotated[
        str | None, typer.Argument(help="By default the study that ran last.", autocompletion=complete_study)
    ] = None,
    storage: Storage = RunOptions.storage,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; by default reports/NAME.")] = None,
    formats: Annotated[
        list[Format], typer.Option("--format", help="What to write, by default all; may be repeated.")
    ] = list(Format),  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print estimates as JSON; write nothing.")] = False,
) -> None:
    """Print what a study shows, and write a report with all its tables and figures."""
    from study.api import load

    # A large study is ten million objects, all in use to the end: looking for garbage takes a second.
    gc.disable()
    study = load(name, storage, for_report=True)
    if as_json:
        print_json({"study": study.name, **study.estimates()})
        return

    from analysis.report import tables_on_screen

    written = study.report(out, [format.value for format in formats])
    answer(*tables_on_screen(study.data, study.page))
    tell_unreadable(study.data.unreadable, "left out: ")
    answer(f"Wrote {len(written)} files in {written[-1].parent}; report: {written[-1]}")


def _cell_count(study: dict[str, Any]) -> str:
    """Count the cells of a study; those of a search as part of how many its budget allows."""
    from study.grid.ranges import Budget

    most = None
    if study["search"]:
        most = Budget.model_validate(study["search"]["budget"]).cells(study["seeds"])
    return f"{study['cells']}" if most is None else f"{study['cells']} of {max(most, study['cells'])}"


def show_status(storage: str, name: str, watch: bool, as_json: bool = False) -> None:
    """Print the status of a study; with ``watch``, at each beat, as JSON in one line each time."""
    from study.store.store import Store

    # With --watch, a program reads one line of JSON at each beat; a person sees the same lines change.
    statuses = _statuses(Store(storage, name))
    if as_json:
        for status in statuses if watch else [next(statuses)]:
            print_json(status_data(status), indent=None if watch else 1)
    elif watch:
        with Live(console=PlainConsole(), auto_refresh=False) as live:
            for status in statuses:
                live.update(render_status(status), refresh=True)
    else:
        answer(render_status(next(statuses)))


def _statuses(store: "Store") -> "Iterator[StudyStatus]":
    from study.store.heartbeat import BEAT_S
    from study.store.status import read_status

    yield (status := read_status(store))
    while status.beat is not None:
        time.sleep(BEAT_S)
        yield (status := read_status(store))


def status_data(status: "StudyStatus") -> dict[str, Any]:
    """Return the status as plain JSON values."""
    return {
        "study": status.study,
        "planned": status.planned,
        "objective": asdict(status.objective),
        "search": _describe_search(status) or None,
        "trials": status.trials,
        "missing": status.planned - sum(status.trials.values()),
        "contrasts": list(status.contrasts),
        "failures": [{"cell": cell, "error": error} for cell, error in status.failures],
        "unreadable": list(status.unreadable),
        "driver": None if status.beat is None else {**status.beat, "beat_age_s": status.beat_age_s},
    }


def render_status(status: "StudyStatus") -> RenderableType:
    """Draw trials by status, what failed and why, and the run that is in progress."""
    left = max(0, status.planned - sum(status.trials.values()))
    counts = format_counts({**status.trials, "not trained yet": left}) or "none"
    lines = [Text(f"{status.study}: {status.planned} trials: {counts}")]
    if status.search:
        lines.append(Text(f"{status.study}: {_describe_search(status)}"))
    lines += map(Text, status.contrasts)
    for cell, error in status.failures:
        lines.append(Text(f"failed: {cell}: {error}", "red"))
    for file, problem in status.unreadable.items():
        lines.append(Text(f"{file} {problem}; run the study again to restore it", "red"))
    return Group(*lines, *_run_in_progress(status))


def _describe_search(status: "StudyStatus") -> str:
    if status.search is None:
        return ""
    from study.grid.ranges import Budget

    budget = Budget.model_validate(status.search["budget"]).describe()
    return f"a search with a budget of {budget}; it has suggested {status.cells} cells so far"


def _run_in_progress(status: "StudyStatus") -> list[RenderableType]:
    from study.store.heartbeat import LATE_S

    beat, age_s = status.beat, status.beat_age_s
    if beat is None or age_s is None:
        return [Text("No run is in progress.")]
    who = f"process {beat['pid']} on {beat['host']}, since {beat['started_at']}"
    if age_s > LATE_S:
        silent = f"The run ({who}) last reported {format_duration(age_s)} ago."
        return [Text(f"{silent} If it is dead, run the study again.", "red")]
    if "cells" not in beat:
        return [Text(f"Run by {who}: starting")]
    driver = Text(f"Run by {who}, nodes: {beat.get('nodes', 'unknown')}")
    cells = [running_cells_table(beat["running"], status.objective)] if beat["running"] else []
    return [driver, Text(describe_progress(beat, "cells of this run done")), *cells]
