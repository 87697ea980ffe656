"""What commands show of stored results: a report, a comparison of two studies, one table."""

import gc
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from study.screen import tell_problem
from study.store import locate


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


def show_difference(first: str, second: str, storage: str, as_json: bool, console: Console) -> None:
    """Compare two studies, each given by its name in the storage or by its path, in words and tables, or as JSON."""
    from analysis.difference import difference_data, difference_sheet, provenance_sheet, summarise_difference
    from analysis.load import load_study
    from analysis.sheets import sheet_rich

    a, b = (load_study(store.storage, store.study) for store in (locate(first, storage), locate(second, storage)))
    found = difference_data(a, b, (first, second))
    summary = summarise_difference(found)
    if as_json:
        console.print_json(data={"summary": summary, **asdict(found)}, indent=1)
        return
    for line in summary:
        console.print(line, soft_wrap=True, highlight=False)
    console.print(sheet_rich(difference_sheet(found)))
    if found.provenance:
        console.print(sheet_rich(provenance_sheet(found)))


def export_study(storage: str, name: str, out: Path, epochs: bool, force: bool, console: Console) -> None:
    """Write a study's trials, or their epochs, as one table."""
    from analysis.export import epochs_table, trials_table, write_table
    from analysis.load import load_study

    data = load_study(storage, name)
    table = epochs_table(data) if epochs else trials_table(data)
    write_table(table, out, force)
    missing = len(data.info["cells"]) * len(data.info["seeds"]) - len(data.trials)
    absent = f"; {missing} planned trials have no row yet" if missing > 0 else ""
    console.print(f"Wrote {out}: {table.num_rows} rows, {table.num_columns} columns{absent}", soft_wrap=True)
    for file in data.unreadable:
        tell_problem(f"left out: {file} cannot be read; run the study again to restore it")
