"""The commands ``study list``, ``status`` and ``analyze``."""

import gc
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from study.cli.completion import complete_study
from study.cli.help import epilog
from study.cli.options import AsJson, Storage
from study.console import tell_problem
from study.grid.ranges import Budget
from study.run_progress import describe_progress, running_cells_table
from study.store.heartbeat import BEAT_S, PATIENCE
from study.store.status import StudyStatus, count_trials, read_status
from study.store.store import Store
from study.words import format_duration

app = typer.Typer()


class Format(StrEnum):
    """What a report is written as."""

    html = "html"
    md = "md"
    csv = "csv"
    tex = "tex"
    svg = "svg"
    png = "png"


@app.command("list", epilog=epilog("list"))
def list_studies(storage: Storage = "studies", as_json: AsJson = False) -> None:
    """List the studies of a storage, with their progress."""
    from study.cli.studies import show_studies

    show_studies(storage, Console(), as_json)


@app.command(epilog=epilog("status"))
def status(
    name: Annotated[str, typer.Argument(help="The study.", autocompletion=complete_study)],
    storage: Storage = "studies",
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until no driver runs it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a study is, from any machine that sees its storage: cells in flight, failures, time left."""
    from study.cli.studies import show_status

    show_status(storage, name, watch, Console(), as_json)


@app.command(epilog=epilog("analyze"))
def analyze(
    name: Annotated[
        str | None, typer.Argument(help="The study; by default the one that ran last.", autocompletion=complete_study)
    ] = None,
    storage: Storage = "studies",
    out: Annotated[Path | None, typer.Option(help="Folder of the report; by default reports/NAME.")] = None,
    formats: Annotated[
        list[Format], typer.Option("--format", help="What to write; may be given more than once. By default all.")
    ] = list(Format),  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimates as JSON; write nothing.")] = False,
) -> None:
    """Print Table I and the verdicts on the report's claims; write them with all figures and a report."""
    from study.cli.studies import analyze_study

    analyze_study(storage, name, out, [format.value for format in formats], as_json, Console())


def show_studies(storage: str, console: Console, as_json: bool) -> None:
    """List the studies of a storage with their trials by status."""
    from study.console import tell_problem

    studies = list(count_trials(storage))
    for study in studies:
        for file in study["unreadable"]:
            tell_problem(f"{study['study']}: {file} cannot be read; run the study again to restore it")
    if as_json:
        console.print_json(data=studies, indent=1)
        return
    if not studies:
        console.print(f"No study in {storage}; begin one with: study run --grid table1", soft_wrap=True)
        return
    counted = ("finished", "pruned", "failed", "missing")
    table = Table("study", "grid", "cells", *counted, box=None, header_style="bold")
    for study in studies:
        table.add_row(study["study"], study["grid"], _cells(study), *(str(study[how]) for how in counted))
    console.print(table)


def _cells(study: dict[str, Any]) -> str:
    """Count the cells of a study, of those that its search may come to."""
    most = Budget.model_validate(study["search"]["budget"]).cells(study["seeds"]) if study["search"] else None
    return f"{study['cells']}" if most is None else f"{study['cells']} of {max(most, study['cells'])}"


def analyze_study(
    storage: str, name: str | None, out: Path | None, formats: Sequence[str], as_json: bool, console: Console
) -> None:
    """Print what a study shows, as tables or as JSON; the tables come with a report in ``out``."""
    from analysis.report import tables_on_screen
    from study.api import load

    gc.disable()  # a large study is ten million objects, all in use to the end: looking for others takes a second
    study = load(name, storage, for_report=True)
    if as_json:
        console.print_json(data={"study": study.name, **study.estimates()}, indent=1)
        return
    written = study.report(out, formats)
    for table in tables_on_screen(study.data, study.page):
        console.print(table)
    for file in study.data.unreadable:
        tell_problem(f"left out: {file} cannot be read; run the study again to restore it")
    console.print(f"Wrote {len(written)} files in {written[-1].parent}; report: {written[-1]}", soft_wrap=True)


def _searching(status: StudyStatus) -> str:
    if status.search is None:
        return ""
    budget = Budget.model_validate(status.search["budget"]).describe()
    return f"a search with a budget of {budget}; it has suggested {status.cells} cells so far"


def status_data(status: StudyStatus) -> dict[str, Any]:
    """Return the status as plain JSON values."""
    held = sum(status.trials.values())
    return {
        "study": status.study,
        "planned": status.planned,
        "search": _searching(status) or None,
        "trials": {how: status.trials.get(how, 0) for how in ("finished", "pruned", "failed")},
        "missing": status.planned - held,
        "failures": [{"cell": cell, "error": error} for cell, error in status.failures],
        "unreadable": list(status.unreadable),
        "driver": None if status.beat is None else {**status.beat, "beat_age_s": status.beat_age_s},
    }


def render_status(status: StudyStatus) -> RenderableType:
    """Draw the status."""
    held = sum(status.trials.values())
    counts = [f"{status.trials[name]} {name}" for name in ("finished", "pruned", "failed") if status.trials.get(name)]
    missing = [f"{status.planned - held} not trained yet"] if held < status.planned else []
    lines: list[RenderableType] = [
        Text(f"{status.study}: of {status.planned} trials " + (", ".join([*counts, *missing]) or "none"))
    ]
    lines += [Text(f"{status.study}: {_searching(status)}")] if status.search else []
    lines += [Text(f"failed: {cell}: {error}", style="red") for cell, error in status.failures]
    lines += [Text(f"{file} cannot be read; run the study again to restore it", "red") for file in status.unreadable]
    return Group(*lines, *_driver_lines(status))


def _driver_lines(status: StudyStatus) -> list[RenderableType]:
    beat, age = status.beat, status.beat_age_s
    if beat is None or age is None:
        return [Text("No driver runs it.")]
    who = f"process {beat['pid']} on {beat['host']}, since {beat['started_at']}"
    if age > (PATIENCE + 1) * BEAT_S:
        silent = f"Its driver ({who}) was last heard of {format_duration(age)} ago; if it is dead, run the study again."
        return [Text(silent, "red")]
    if "cells" not in beat:
        return [Text(f"Run by {who}: starting")]
    lines: list[RenderableType] = [
        Text(f"Run by {who}, nodes: {beat.get('nodes', 'unknown')}"),
        Text(describe_progress(beat, "cells of this run done")),
    ]
    if beat["running"]:
        lines.append(running_cells_table(beat["running"]))
    return lines


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
