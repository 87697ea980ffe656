"""The commands ``study run`` and ``study confirm``."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from study.cli.completion import complete_study
from study.cli.help import epilog
from study.cli.options import AsJson, Storage, takes
from study.console import notes
from study.plan.request import RunOptions, TrainingOptions

if TYPE_CHECKING:
    from study.plan.resources import Resources

app = typer.Typer()


@app.command(epilog=epilog("run"))
@takes(RunOptions)
def run(options: RunOptions, as_json: AsJson = False) -> None:
    """Train what the study does not have yet. Run the same command again to continue an interrupted run."""
    from study.cli.studies import show_status
    from study.driver.session import run_study
    from study.plan.resources import resources_for

    resources, work = resources_for(options), options.resolve()
    code = run_study(work, resources, notes(as_json), given_command())
    if as_json:
        show_status(options.storage, work.store.study, False, Console(), as_json)
    raise typer.Exit(code)


@app.command(epilog=epilog("confirm"))
@takes(TrainingOptions)
def confirm(
    name: Annotated[
        str, typer.Argument(help="The study whose chosen cells are trained again.", autocompletion=complete_study)
    ],
    seeds: Annotated[int, typer.Option(help="How many fresh seeds each cell gets.")] = 20,
    storage: Storage = RunOptions.storage,
    *,
    options: TrainingOptions,
    as_json: AsJson = False,
) -> None:
    """Train the chosen cells again with fresh seeds, and show selection and confirmation side by side."""
    from analysis.stored import CONFIRMATION
    from study.cli.studies import show_status
    from study.plan.resources import resources_for

    code = run_confirmation(storage, name, seeds, resources_for(options), notes(as_json), given_command())
    if as_json:
        show_status(storage, name + CONFIRMATION, False, Console(), as_json)
    raise typer.Exit(code)


@app.command(epilog=epilog("plan"))
@takes(RunOptions, leave_out=("data_dir", "address", "retries", "epoch_limit", "track"))
def plan(
    options: RunOptions,
    nodes: Annotated[int, typer.Option(help="How many machines to plan for.")] = 1,
    cpus: Annotated[float | None, typer.Option(help="CPU cores of each; by default as many as this one has.")] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs of each; by default as many as this one has.")] = None,
    price: Annotated[float | None, typer.Option(help="Price of one machine for an hour, in any currency.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would train, what the study already has, and the time and cost on machines of your choice."""
    from study.cli.plan import show_plan
    from study.plan.forecast import machines_for

    work = options.resolve()
    machines, resources = machines_for(nodes, cpus, gpus, price, options, alone=work.grid.search is not None)
    show_plan(work, machines, resources, Console(), as_json)


def given_command() -> str:
    """Return the command line as the user may type it again."""
    return shlex.join(["study", *sys.argv[1:]])


def run_confirmation(
    storage: str, name: str, seeds: int, resources: "Resources", console: Console, command: str
) -> int:
    """Train what the confirmation lacks and show it beside the study; return the exit code of ``run_study``."""
    import numpy as np

    from analysis.load import confirmation_study, load_study, no_cell
    from analysis.output.formats import sheet_rich
    from analysis.statistics.confirmation import confirmation_sheet
    from study.driver.session import INTERRUPTED, train
    from study.plan.confirmation import confirmation_of

    data = load_study(storage, name, no_cell)
    work = confirmation_of(data, storage, seeds)
    why = "the best by validation, and those of contrasts" if "tuned" in work.grid.roles.values() else "none is tuned"
    console.print(f"{name}: {len(work.cells)} of {len(data.info.cells)} cells to confirm ({why})", soft_wrap=True)
    code = train(work, resources, console, command)
    if code == INTERRUPTED:
        return code
    confirmation = confirmation_study(storage, data)
    if confirmation is not None:
        console.print(sheet_rich(confirmation_sheet(data, confirmation, np.random.default_rng(0))))
    console.print(f"Next: study analyze {name} --storage {storage}", soft_wrap=True)
    return code
