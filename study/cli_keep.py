"""What is done with whole studies: ``study merge``, ``diff``, ``export``, ``archive``, ``restore`` and ``remove``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from study.completion import complete_study
from study.help import epilog
from study.options import AsJson, Storage

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
    from study.merge import merge_studies

    raise typer.Exit(merge_studies(sources, into, storage, Console()))


@app.command(epilog=epilog("diff"))
def diff(
    a: Annotated[str, typer.Argument(help="A study by name in the storage, or by its path or URI.")],
    b: Annotated[str, typer.Argument(help="The study to compare it with.")],
    storage: Storage = "studies",
    as_json: AsJson = False,
) -> None:
    """Compare two studies cell by cell: what B reached less what A did, paired where their seeds match."""
    from study.shown import show_difference

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
    from study.shown import export_study

    export_study(storage, name, out, epochs, force, Console())


@app.command(epilog=epilog("archive"))
def archive(
    name: Study,
    out: Annotated[Path, typer.Option(help="The file to write: .tar.gz.")],
    storage: Storage = "studies",
    force: Force = False,
) -> None:
    """Write a whole study into one file and read it back to check it; the study stays."""
    from study.archive import archive_study

    archive_study(storage, name, out, force, Console())


@app.command(epilog=epilog("restore"))
def restore(
    file: Annotated[Path, typer.Argument(help="What `study archive` wrote.")], storage: Storage = "studies"
) -> None:
    """Put an archived study back into a storage."""
    from study.archive import restore_study

    restore_study(file, storage, Console())


@app.command(epilog=epilog("remove"))
def remove(
    name: Study,
    storage: Storage = "studies",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a study for good, once you have said yes to what would be lost."""
    from study.archive import remove_study

    raise typer.Exit(remove_study(storage, name, yes, Console()))
