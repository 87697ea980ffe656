"""What is done with whole studies: ``study merge``, ``diff``, ``export``, ``archive``, ``restore`` and ``remove``."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Confirm

from study.cli.completion import complete_study
from study.cli.help import epilog
from study.cli.options import AsJson, Storage
from study.cli.studies import render_status
from study.console import tell_problem
from study.store.archive import write_archive
from study.store.files import StoreError
from study.store.heartbeat import Heartbeat
from study.store.merge import Joined
from study.store.status import count_by_status, read_status
from study.store.store import Store, locate, no_study

app = typer.Typer()

Study = Annotated[str, typer.Argument(help="The study.", autocompletion=complete_study)]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")]


@app.command(epilog=epilog("merge"))
def merge(
    sources: Annotated[list[str], typer.Argument(help="Studies by name in the storage, or by their paths or URIs.")],
    into: Annotated[str, typer.Option("--into", help="The study that they join; it may be new.")],
    storage: Storage = "studies",
) -> None:
    """Let studies, of several machines say, join one: each trial once, nothing trained, the sources unchanged."""
    from study.store.merge import merge_studies

    merged, console = merge_studies(sources, into, storage), Console()
    for file in merged.set_aside:
        tell_problem(f"{into}: {file} cannot be read and is set aside")
    for source, joined in merged.brought:
        for line in _lines(source, joined):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    target = merged.target
    console.print(render_status(read_status(target)), soft_wrap=True)
    console.print(f"Next: study analyze {target.study} --storage {target.storage}", soft_wrap=True)
    raise typer.Exit(1 if any(joined.unreadable for _, joined in merged.brought) else 0)


@app.command(epilog=epilog("diff"))
def diff(
    a: Annotated[str, typer.Argument(help="A study by name in the storage, or by its path or URI.")],
    b: Annotated[str, typer.Argument(help="The study to compare it with.")],
    storage: Storage = "studies",
    as_json: AsJson = False,
) -> None:
    """Compare two studies cell by cell: what B reached less what A did, paired where their seeds match."""
    show_difference(a, b, storage, as_json, Console())


@app.command(epilog=epilog("export"))
def export(
    name: Study,
    out: Annotated[Path, typer.Option(help="The file to write: .csv or .parquet.")],
    epochs: Annotated[bool, typer.Option("--epochs", help="A row a trial and epoch, not a row a trial.")] = False,
    storage: Storage = "studies",
    force: Force = False,
) -> None:
    """Write a study as one tidy table, with every setting of a trial's cell as a column."""
    export_study(storage, name, out, epochs, force, Console())


@app.command(epilog=epilog("archive"))
def archive(
    name: Study,
    out: Annotated[Path, typer.Option(help="The file to write: .tar.gz.")],
    storage: Storage = "studies",
    force: Force = False,
) -> None:
    """Write a whole study into one file and read it back to check it; the study stays."""
    archive_study(storage, name, out, force, Console())


@app.command(epilog=epilog("restore"))
def restore(
    file: Annotated[Path, typer.Argument(help="What `study archive` wrote.")], storage: Storage = "studies"
) -> None:
    """Put an archived study back into a storage."""
    from study.store.archive import restore_study

    store = restore_study(file, storage)
    Console().print(f"Restored {store.study} in {storage}: {describe_rows(store)}", soft_wrap=True, highlight=False)


@app.command(epilog=epilog("remove"))
def remove(
    name: Study,
    storage: Storage = "studies",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a study for good, once you have said yes to what would be lost."""
    raise typer.Exit(remove_study(storage, name, yes, Console()))


def archive_study(storage: str, name: str, out: Path, force: bool, console: Console) -> None:
    """Write a study into a .tar.gz and read it back; raise StoreError for a study that is running or cannot be kept."""
    store = Store(storage, name)
    store.known_info()
    Heartbeat(store.folder).check_free()
    written = write_archive(store, out, force)
    console.print(f"{name}: {describe_rows(store)}", soft_wrap=True, highlight=False)
    console.print(
        f"Wrote {out} and read it back: {written.files} files, each as it is in the study. Its SHA-256:", soft_wrap=True
    )
    console.print(f"{written.sha256}  {out}", soft_wrap=True, highlight=False)


def remove_study(storage: str, name: str, yes: bool, console: Console) -> int:
    """Remove a study, after the user has said ``yes`` or says so now; return the exit code, 1 for a no.

    Raises StoreError for a study that is running, and where there is no one to ask.
    """
    store = Store(storage, name)
    if store.folder.read("study.json") is None:
        raise no_study(name, storage)
    Heartbeat(store.folder).check_free()
    console.print(f"{name} in {storage}: {describe_rows(store)}", soft_wrap=True, highlight=False)
    if not yes:
        if not sys.stdin.isatty():
            raise StoreError(f"nobody is here to be asked whether {name} may be removed; give --yes if it may")
        if not Confirm.ask("Remove all of it for good?", console=console, default=False):
            console.print("Nothing is removed.")
            return 1
    with Heartbeat(store.folder):
        for folder in ("trials", "epochs", "damaged", "scratch"):
            store.folder.delete_folder(folder)
        store.folder.delete("study.json")  # the last: until it is gone the same command goes on
    store.folder.delete_folder("")
    console.print(f"Removed {name}.")
    return 0


def describe_rows(store: Store) -> str:
    """Say what a study holds: trials by status and hours of training."""
    rows, unreadable = store.read_trials()
    counts = count_by_status(rows)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    hours = sum(row["train_time_s"] or 0 for row in rows) / 3600
    damaged = f", and {len(unreadable)} files that cannot be read" if unreadable else ""
    return f"{len(rows)} trials{f' ({listed})' if listed else ''}, {hours:.2f} hours of training{damaged}"


def _lines(source: str, joined: Joined) -> list[str]:
    """Say what a study brought."""
    parts = [f"{joined.added} trials joined"]
    if joined.replaced:
        parts.append(f"{joined.replaced} of them in place of pruned or failed ones")
    if joined.there:
        parts.append(f"{joined.there} were there already")
    if joined.conflicts:
        parts.append(f"{len(joined.conflicts)} were there with other numbers, which are kept:")
    return [
        f"{source}: {', '.join(parts)}",
        *(
            f"  {conflict.trial_id}: test accuracy {conflict.kept:.4f} kept, {conflict.left:.4f} left out"
            for conflict in joined.conflicts
        ),
        *(f"  {file} cannot be read and is left out" for file in joined.unreadable),
    ]


def show_difference(first: str, second: str, storage: str, as_json: bool, console: Console) -> None:
    """Compare two studies, each given by its name in the storage or by its path, in words and tables, or as JSON."""
    from analysis.load import load_study
    from analysis.output.formats import sheet_rich
    from analysis.statistics.difference import difference_data
    from analysis.statistics.difference_tables import difference_sheet, provenance_sheet, summarise_difference

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
    from analysis.load import load_study
    from analysis.output.export import epochs_table, trials_table, write_table

    data = load_study(storage, name)
    table = epochs_table(data) if epochs else trials_table(data)
    write_table(table, out, force)
    missing = data.info.planned - len(data.trials)
    absent = f"; {missing} planned trials have no row yet" if missing > 0 else ""
    console.print(f"Wrote {out}: {table.num_rows} rows, {table.num_columns} columns{absent}", soft_wrap=True)
    for file in data.unreadable:
        tell_problem(f"left out: {file} cannot be read; run the study again to restore it")
