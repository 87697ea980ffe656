"""Commands for whole studies: ``merge``, ``import``, ``diff``, ``export``, ``archive``, ``restore``, ``remove``."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.prompt import Confirm

from study.cli.help import epilog
from study.cli.parameters import AsJson, Storage, StudyName
from study.cli.studies import render_status
from study.console import answer, print_json, tell_problem, tell_unreadable
from study.plan.run_options import RunOptions
from study.words import format_counts

if TYPE_CHECKING:
    from study.store.merge import Joined
    from study.store.store import Store

app = typer.Typer()

Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


@app.command(epilog=epilog("merge"))
def merge(
    sources: Annotated[list[str], typer.Argument(help="The studies: names in the storage, or paths or URIs.")],
    into: Annotated[str, typer.Option("--into", help="The study that gets their trials; it may be new.")],
    storage: Storage = RunOptions.storage,
) -> None:
    """Merge studies, for example from several machines, into one.

    Each trial is kept once; nothing is trained and the sources are not changed.
    """
    import pandas as pd

    from analysis.statistics.sources import mixed_code
    from study.store.merge import merge_studies
    from study.store.status import read_status

    merged = merge_studies(sources, into, storage)
    tell_unreadable(merged.set_aside, f"{into}: ", "it is set aside")
    for source, joined in merged.brought:
        answer(*_describe_joined(source, joined))
    for line in mixed_code(merged.target.known_info(), pd.DataFrame(merged.target.read_trials()[0])):
        tell_problem(line)
    answer(render_status(read_status(merged.target)), _next_step(merged.target))
    raise typer.Exit(1 if any(joined.unreadable for _, joined in merged.brought) else 0)


@app.command("import", epilog=epilog("import"))
def import_runs(
    file: Annotated[str, typer.Argument(help="The table: .csv or .parquet, one row per training (or --epoch).")],
    into: Annotated[str, typer.Option("--into", help="The study that gets the trainings; it may be new.")],
    factors: Annotated[str, typer.Option(help="Columns that tell cells apart, such as lr,norm.")],
    metrics: Annotated[
        list[str],
        typer.Option(
            "--metric", help="A figure: COLUMN[:max|min[:unit[:scale]]]; may be repeated. The first is the objective."
        ),
    ],
    seed: Annotated[str | None, typer.Option(help="The column of seeds; without it each cell has one row.")] = None,
    epoch: Annotated[str | None, typer.Option(help="The column of epochs, if there is one row per epoch.")] = None,
    status: Annotated[str | None, typer.Option(help="The column that says how a training ended.")] = None,
    contrasts: Annotated[
        list[str], typer.Option("--contrast", help="NAME: FACTOR=VALUE minus FACTOR=VALUE; may be repeated.")
    ] = [],  # noqa: B006
    grid: Annotated[str | None, typer.Option(help="A grid file with roles, contrasts and a description.")] = None,
    storage: Storage = RunOptions.storage,
) -> None:
    """Make a study of a table of results that were made elsewhere.

    Wherever a column is named, NAME=COLUMN gives it another name. If the study exists, the trainings join it.
    """
    from study.imports.imported_study import import_table
    from study.imports.runs_table import RunsTable

    table = RunsTable(file=file, factors=factors, metrics=metrics, seed=seed, epoch=epoch, status=status)
    trainings, merged = import_table(table, into, storage, contrasts, grid)
    joined = _describe_joined(merged.target.study, merged.brought[0][1])
    answer(*trainings.describe(), *joined, _next_step(merged.target))


@app.command(epilog=epilog("diff"))
def diff(
    a: Annotated[str, typer.Argument(help="The first study: a name in the storage, or a path or URI.")],
    b: Annotated[str, typer.Argument(help="The study to compare it with.")],
    storage: Storage = RunOptions.storage,
    as_json: AsJson = False,
) -> None:
    """Compare two studies cell by cell: results of B minus those of A, paired by seed."""
    from analysis.comparison.difference import difference_data
    from analysis.comparison.difference_tables import difference_sheet, provenance_sheet, summarise_difference
    from analysis.load import load_study
    from analysis.output.formats import sheet_rich
    from study.store.store import locate

    # Both may have the same name, in different storages: they are called what the user calls them.
    stores = [locate(name, storage) for name in (a, b)]
    first, second = (load_study(store.storage, store.study) for store in stores)
    found = difference_data(first, second, (a, b))
    summary = summarise_difference(found)
    if as_json:
        print_json({"summary": summary, **asdict(found)})
        return
    answer(*summary, sheet_rich(difference_sheet(found)))
    if found.provenance:
        answer(sheet_rich(provenance_sheet(found)))


@app.command(epilog=epilog("export"))
def export(
    name: StudyName,
    out: Annotated[Path, typer.Option(help="The file to write: .csv or .parquet.")],
    epochs: Annotated[bool, typer.Option("--epochs", help="Write one row per trial and epoch.")] = False,
    storage: Storage = RunOptions.storage,
    force: Force = False,
) -> None:
    """Write a study as one table: one row per trial, with a column for every setting."""
    from analysis.load import load_study
    from analysis.output.export import epochs_table, trials_table, write_table

    data = load_study(storage, name)
    table = epochs_table(data) if epochs else trials_table(data)
    write_table(table, out, force)
    size = f"{table.num_rows} rows, {table.num_columns} columns"
    missing = data.info.planned - len(data.trials)
    absent = f"; {missing} planned trials have no row yet" if missing > 0 else ""
    answer(f"Wrote {out}: {size}{absent}")
    tell_unreadable(data.unreadable, "left out: ")


@app.command(epilog=epilog("archive"))
def archive(
    name: StudyName,
    out: Annotated[Path, typer.Option(help="The file to write: .tar.gz.")],
    storage: Storage = RunOptions.storage,
    force: Force = False,
) -> None:
    """Pack a whole study into one file, and read it back to check it. The study stays."""
    from study.store.archive import write_archive
    from study.store.heartbeat import Heartbeat
    from study.store.store import Store

    store = Store(storage, name)
    # A run that writes meanwhile would leave an archive of no moment.
    store.known_info()
    Heartbeat(store.folder).check_free()
    files, sha256 = write_archive(store, out, force)
    same = f"all {files} files are as in the study"
    written = f"Wrote {out} and read it back: {same}. Its SHA-256:"
    answer(f"{name}: {describe_rows(store)}", written, f"{sha256}  {out}")


@app.command(epilog=epilog("restore"))
def restore(
    file: Annotated[Path, typer.Argument(help="The file that `study archive` wrote.")],
    storage: Storage = RunOptions.storage,
) -> None:
    """Put an archived study back into a storage."""
    from study.store.archive import restore_study

    store = restore_study(file, storage)
    tell_unreadable(store.read_trials("status")[1])
    answer(f"Restored {store.study} in {storage}: {describe_rows(store)}")


@app.command(epilog=epilog("remove"))
def remove(
    name: StudyName,
    storage: Storage = RunOptions.storage,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
) -> None:
    """Delete a study for good. What would be lost is shown first, and you are asked."""
    from study.store.archive import remove_study
    from study.store.files import StoreError
    from study.store.heartbeat import Heartbeat
    from study.store.store import Store, no_study

    store = Store(storage, name)
    if store.folder.read("study.json") is None:
        raise no_study(name, storage)
    Heartbeat(store.folder).check_free()
    answer(f"{name} in {storage}: {describe_rows(store)}")
    if not yes:
        if not sys.stdin.isatty():
            raise StoreError(f"no terminal to ask whether to remove {name}: give --yes to remove it")
        if not Confirm.ask("Remove all of it for good?", default=False):
            answer("Nothing is removed.")
            raise typer.Exit(1)
    remove_study(store)
    answer(f"Removed {name}.")


def describe_rows(store: "Store") -> str:
    """Say what a study holds: trials by status, and hours of training."""
    from study.store.status import count_by_status

    rows, unreadable = store.read_trials()
    listed = format_counts(dict(sorted(count_by_status(rows).items())))
    hours = sum(row["train_time_s"] or 0 for row in rows) / 3600
    statuses = f" ({listed})" if listed else ""
    damaged = f", and {len(unreadable)} files that are left out" if unreadable else ""
    return f"{len(rows)} trials{statuses}, {hours:.2f} hours of training{damaged}"


def _next_step(store: "Store") -> str:
    return f"Next: study analyze {store.study} --storage {store.storage}"


def _describe_joined(source: str, joined: "Joined") -> list[str]:
    others = {
        "of them in place of pruned or failed ones": joined.replaced,
        "were there already": joined.there,
        "were there with other numbers, which are kept:": len(joined.conflicts),
    }
    parts = filter(None, (f"{joined.added} trials added", format_counts(others)))
    lines = [f"{source}: {', '.join(parts)}"]
    for conflict in joined.conflicts:
        numbers = f"{conflict.column} {conflict.kept} kept, {conflict.left} left out"
        lines.append(f"  {conflict.trial_id}: {numbers}")
    for file, problem in joined.unreadable.items():
        lines.append(f"  {file} {problem}; it is left out")
    return lines
