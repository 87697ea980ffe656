"""The commands ``study run`` and ``study confirm``."""

import shlex
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from study.cli.completion import complete_grid, complete_study
from study.cli.help import epilog
from study.cli.options import AsJson, Storage
from study.console import notes

if TYPE_CHECKING:
    from study.plan.resources import Resources

app = typer.Typer()


class Scheduler(StrEnum):
    """How cells are stopped early."""

    asha = "asha"
    none = "none"


class Source(StrEnum):
    """Where the digits come from."""

    mnist5k = "mnist5k"
    mnist = "mnist"


class Tracker(StrEnum):
    """What else may follow a run."""

    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


GridOption = Annotated[
    str,
    typer.Option("--grid", help="A shipped grid (see study grids) or a .yaml file.", autocompletion=complete_grid),
]


Name = Annotated[
    str | None, typer.Option(help="The study's name; by default the grid's, and the data's if not mnist5k.")
]


Seeds = Annotated[int | None, typer.Option(help="How many seeds a cell has; by default the grid's.")]


SchedulerOption = Annotated[Scheduler | None, typer.Option(help="How cells are stopped; by default the grid's.")]


DataDir = Annotated[
    str | None, typer.Option(help="Folder of the data's files; else MNIST is downloaded.", envvar="STUDY_DATA_DIR")
]


CpusPerTrial = Annotated[
    float, typer.Option(help="Cores, and threads, of a pack of cells.", envvar="STUDY_CPUS_PER_TRIAL")
]


GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        help="GPUs of a pack of cells, fractions allowed; by default 1 where there is one, or 0.25 for a cell alone.",
        envvar="STUDY_GPUS_PER_TRIAL",
    ),
]


CellsPerTrial = Annotated[
    str,
    typer.Option(help="Cells that train as one stack: a number; or auto: 1 on CPUs, and as many as suit the GPUs."),
]


Address = Annotated[
    str | None, typer.Option(help="A Ray cluster to join, such as auto; by default RAY_ADDRESS, or none.")
]


Retries = Annotated[int, typer.Option(help="How often a pack of cells that died goes on from its last checkpoint.")]


EpochLimit = Annotated[float, typer.Option("--epoch-limit", help="Seconds that an epoch of a pack may take.")]


Data = Annotated[Source | None, typer.Option(help="The digits: 5,000 embedded ones, or all of MNIST.")]


@app.command(epilog=epilog("run"))
def run(
    grid: GridOption,
    name: Name = None,
    storage: Storage = "studies",
    seeds: Seeds = None,
    scheduler: SchedulerOption = None,
    data: Data = None,
    data_dir: DataDir = None,
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = None,
    cells_per_trial: CellsPerTrial = "auto",
    address: Address = None,
    retries: Retries = 3,
    epoch_limit: EpochLimit = 600,
    track: Annotated[
        list[Tracker], typer.Option(help="Log the cells into ./tracking/NAME too; may be given more than once.")
    ] = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Train what the study does not have yet. The same command again goes on where it was interrupted."""
    from study.cli.studies import show_status
    from study.driver.session import run_study
    from study.plan.request import Request
    from study.plan.resources import resources_for

    resources = resources_for(cpus_per_trial, gpus_per_trial, address, data_dir, retries, epoch_limit, cells_per_trial)
    trackers = tuple(tracker.value for tracker in track)
    request = Request(grid, storage, name, seeds, scheduler, data, trackers)
    command = shlex.join(["study", *sys.argv[1:]])
    code = run_study(request, resources, notes(as_json), command)
    if as_json:
        show_status(storage, request.study, False, Console(), as_json)
    raise typer.Exit(code)


@app.command(epilog=epilog("confirm"))
def confirm(
    name: Annotated[
        str, typer.Argument(help="The study whose chosen cells are trained again.", autocompletion=complete_study)
    ],
    seeds: Annotated[int, typer.Option(help="How many fresh seeds a cell gets.")] = 20,
    storage: Storage = "studies",
    data_dir: DataDir = None,
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = None,
    cells_per_trial: CellsPerTrial = "auto",
    address: Address = None,
    retries: Retries = 3,
    epoch_limit: EpochLimit = 600,
    as_json: AsJson = False,
) -> None:
    """Train the cells that selection chose again, with fresh seeds; show selection and confirmation side by side."""
    from analysis.stored import CONFIRMATION
    from study.cli.run import run_confirmation
    from study.cli.studies import show_status
    from study.plan.resources import resources_for

    resources = resources_for(cpus_per_trial, gpus_per_trial, address, data_dir, retries, epoch_limit, cells_per_trial)
    command = shlex.join(["study", *sys.argv[1:]])
    code = run_confirmation(storage, name, seeds, resources, notes(as_json), command)
    if as_json:
        show_status(storage, name + CONFIRMATION, False, Console(), as_json)
    raise typer.Exit(code)


@app.command(epilog=epilog("plan"))
def plan(
    grid: GridOption,
    name: Name = None,
    storage: Storage = "studies",
    seeds: Seeds = None,
    scheduler: SchedulerOption = None,
    data: Data = None,
    nodes: Annotated[int, typer.Option(help="Machines to plan for.")] = 1,
    cpus: Annotated[float | None, typer.Option(help="Cores of each; by default this machine's.")] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs of each; by default this machine's.")] = None,
    price: Annotated[float | None, typer.Option(help="Price of each for an hour.")] = None,
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = None,
    cells_per_trial: CellsPerTrial = "auto",
    as_json: AsJson = False,
) -> None:
    """Show what a run would train, what the study has, and time and cost on machines of your choice; trains nothing."""
    from study.cli.plan import show_plan
    from study.grid.load import load_grid
    from study.plan.forecast import machines_for
    from study.plan.request import Request

    alone = load_grid(grid).search is not None
    machines, resources = machines_for(nodes, cpus, gpus, price, cpus_per_trial, gpus_per_trial, cells_per_trial, alone)
    show_plan(Request(grid, storage, name, seeds, scheduler, data), machines, resources, Console(), as_json)


def run_confirmation(
    storage: str, name: str, seeds: int, resources: "Resources", console: Console, command: str
) -> int:
    """Train what the confirmation lacks and show it beside the study; return the exit code of ``run_study``."""
    import numpy as np

    from analysis.load import companions, load_study, no_cell
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
    confirmation = companions(storage, data).get("confirmation")
    if confirmation is not None:
        console.print(sheet_rich(confirmation_sheet(data, confirmation, np.random.default_rng(0))))
    console.print(f"Next: study analyze {name} --storage {storage}", soft_wrap=True)
    return code
