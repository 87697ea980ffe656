"""The commands that train: ``study run`` and ``study confirm``."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.help import epilog
from study.cli.parameters import AsJson, Storage, StudyName, takes
from study.console import PlainConsole, notes
from study.plan.run_options import RunOptions, TrainingOptions

if TYPE_CHECKING:
    from analysis.load import StudyData

app = typer.Typer()


@app.command(epilog=epilog("run"))
@takes(RunOptions)
def run(options: RunOptions, as_json: AsJson = False) -> None:
    """Train what the study does not have yet. To continue an interrupted run, run it again."""
    from study.cli.studies import show_status
    from study.driver.session import run_study
    from study.plan.resources import resources_for

    resources = resources_for(options)
    work = options.resolve()
    code = run_study(work, resources, notes(as_json), given_command())
    if as_json:
        show_status(options.storage, work.store.study, False, as_json)
    raise typer.Exit(code)


@app.command(epilog=epilog("confirm"))
@takes(TrainingOptions)
def confirm(
    name: StudyName,
    seeds: Annotated[int, typer.Option(help="How many fresh seeds each cell gets.")] = 20,
    storage: Storage = RunOptions.storage,
    *,
    options: TrainingOptions,
    as_json: AsJson = False,
) -> None:
    """Train the chosen cells of a study again with fresh seeds, and compare the results."""
    from analysis.load import load_study, no_cell
    from study.cli.studies import show_status
    from study.driver.session import INTERRUPTED, train
    from study.plan.confirmation import confirmation_of
    from study.plan.resources import resources_for

    resources = resources_for(options)  # refused before a large study is read
    data = load_study(storage, name, no_cell)
    work = confirmation_of(data, storage, seeds)
    console = notes(as_json)
    tuned = "tuned" in work.grid.roles.values()
    why = "the best by validation, and those that contrasts compare" if tuned else "no factor is tuned"
    count = f"{len(work.cells)} of {len(data.info.cells)} cells"
    console.print(f"{data.name}: {count} to confirm ({why})")
    code = train(work, resources, console, given_command())
    if code != INTERRUPTED:
        _show_confirmation(data, storage, console)
    if as_json:
        show_status(storage, work.store.study, False, as_json)
    raise typer.Exit(code)


def given_command() -> str:
    """Return the command line as the user may type it again."""
    return shlex.join(["study", *sys.argv[1:]])


def _show_confirmation(data: "StudyData", storage: str, console: PlainConsole) -> None:
    from analysis.comparison.confirmation import confirmation_sheet
    from analysis.load import confirmation_study
    from analysis.output.formats import sheet_rich

    confirmation = confirmation_study(storage, data)
    if confirmation is not None:
        console.print(sheet_rich(confirmation_sheet(data, confirmation)))
    console.print(f"Next: study analyze {data.name} --storage {storage}")
