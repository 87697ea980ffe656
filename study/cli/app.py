"""The program ``study``: its commands put together, and errors turned into exit codes."""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from study.cli import grids, keep, plan, run, studies
from study.cli.help import EXIT_CODES, epilog
from study.cli.parameters import Commands, bind_environment, file_options, usage_problem
from study.console import is_verbose, set_level, tell_problem
from study.errors import StudyError

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(grids.app, name="grids")
for part in (run, plan, studies, keep):
    app.add_typer(part.app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("digit-comparator-study"))
        raise typer.Exit


@app.callback(epilog=epilog("study"))
def study(
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only answers and problems.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print Ray's messages and tracebacks too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train all cells of a grid with Ray Tune, keep the results, and report what they show."""
    set_level(quiet, verbose)


def main() -> None:
    """Run the command line. An error that the user can mend is one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        bind_environment(command)
        code = command(prog_name="study", default_map=file_options(command), standalone_mode=False)
    except typer.TyperException as error:
        _fail(usage_problem(error), error.exit_code)
    except KeyboardInterrupt:
        _fail(EXIT_CODES[130], 130)
    except Exception as error:
        from analysis.stored import AnalysisError
        from trainables.config import TrainableError

        # Anything else is a bug of ours: its traceback is what a report of it needs.
        if not isinstance(error, StudyError | AnalysisError | TrainableError):
            raise
        _fail(str(error), 2)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    if is_verbose():
        traceback.print_exc()
    if message:  # it is empty if a command without arguments has printed its help
        tell_problem(f"study: {message}")
    sys.exit(code)
