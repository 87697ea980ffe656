"""The command line: ``study run``, ``confirm``, ``plan``, ``list``, ``status`` and ``analyze``.

The other commands are in cli_grids.py and cli_keep.py, the examples in ``--help`` in help.py; options that are not
given come from options.py.
"""

import shlex
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from study import cli_grids, cli_keep
from study.completion import complete_grid, complete_study
from study.help import epilog
from study.options import AsJson, Commands, OptionError, Storage, bind_environment, file_options, usage_problem
from study.screen import is_verbose, notes, set_level, tell_problem

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_grids.app, name="grids")
app.add_typer(cli_keep.app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("digit-comparator-study"))
        raise typer.Exit


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


class Format(StrEnum):
    """What a report is written as."""

    html = "html"
    md = "md"
    csv = "csv"
    tex = "tex"
    svg = "svg"
    png = "png"


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


@app.callback(epilog=epilog("study"))
def study(
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress and no hints: answers and problems only.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Ray's messages too, and tracebacks of problems.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What do weight sharing, an auxiliary loss and dropout each buy? An ablation study on Ray Tune."""
    set_level(quiet, verbose)


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
    from study.commands import Request, run_study
    from study.resources import resources_for
    from study.status import show_status

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
    from analysis.load import CONFIRMATION
    from study.confirm import run_confirmation
    from study.resources import resources_for
    from study.status import show_status

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
    from study.commands import Request, show_plan
    from study.forecast import machines_for
    from study.grid import load_grid

    alone = load_grid(grid).search is not None
    machines, resources = machines_for(nodes, cpus, gpus, price, cpus_per_trial, gpus_per_trial, cells_per_trial, alone)
    show_plan(Request(grid, storage, name, seeds, scheduler, data), machines, resources, Console(), as_json)


@app.command("list", epilog=epilog("list"))
def list_studies(storage: Storage = "studies", as_json: AsJson = False) -> None:
    """List the studies of a storage, with their progress."""
    from study.listing import show_studies

    show_studies(storage, Console(), as_json)


@app.command(epilog=epilog("status"))
def status(
    name: Annotated[str, typer.Argument(help="The study.", autocompletion=complete_study)],
    storage: Storage = "studies",
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until no driver runs it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a study is, from any machine that sees its storage: cells in flight, failures, time left."""
    from study.status import show_status

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
    from study.shown import analyze_study

    analyze_study(storage, name, out, [format.value for format in formats], as_json, Console())


def main() -> None:
    """Run the command line; an error that the user can mend ends it with one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        bind_environment(command)
        code = command(prog_name="study", default_map=file_options(command), standalone_mode=False)
    except OptionError as error:
        _fail(str(error), 2)
    except typer.TyperException as error:
        _fail(usage_problem(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on with what is missing", 130)
    except Exception as error:
        if not isinstance(error, _user_errors()):
            raise
        _fail(str(error), 2)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    if is_verbose():
        traceback.print_exc()
    if message:  # of a command without arguments it is the help, which is printed already
        tell_problem(f"study: {message}")
    sys.exit(code)


def _user_errors() -> tuple[type[Exception], ...]:
    from analysis.load import AnalysisError
    from study.grid import GridError
    from study.resources import LaunchError
    from study.storage import StoreError
    from trainables.models import ModelError
    from trainables.pairs import DataError

    return AnalysisError, DataError, GridError, LaunchError, ModelError, StoreError
