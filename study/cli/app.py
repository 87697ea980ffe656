"""The program ``study``: its commands put together, and errors turned into exit codes."""

import io
import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from study.cli import gate, grids, keep, plan, run, studies
from study.cli.help import EXIT_CODES, epilog
from study.cli.parameters import Commands, file_options, prepare, usage_problem
from study.console import PlainConsole, ReaderGoneError, answer, is_verbose, set_level, tell_problem
from study.errors import StudyError

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(grids.app, name="grids")
for part in (run, plan, studies, gate, keep):
    app.add_typer(part.app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        answer(version("digit-comparator-study"))
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
        _check_streams()
        prepare(command)
        code = command(prog_name="study", default_map=file_options(command), standalone_mode=False)
        sys.stdout.flush()
    except (ReaderGoneError, BrokenPipeError):  # the latter from the flush
        _fail("", 2)
    except typer.TyperException as error:
        _fail(usage_problem(error), error.exit_code)
    except KeyboardInterrupt:
        _fail(EXIT_CODES[130], 130)
    except (OSError, MemoryError) as error:
        # A disk that is full, a file that must not be written: no mistake of this program.
        _fail(f"the system refuses: {str(error) or 'no memory is left'}", 2)
    except Exception as error:
        from analysis.stored import AnalysisError
        from trainables.config import TrainableError

        # Anything else is a bug of ours: its traceback is what a report of it needs.
        if not isinstance(error, StudyError | AnalysisError | TrainableError):
            raise
        _fail(str(error), 2)
    sys.exit(code)


def _check_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # The next file that is opened would take its place, and get what is printed.
        if stream is None:
            raise StudyError(f"{name} is closed; send it to a file or to /dev/null")
        # What a terminal's encoding does not have becomes a question mark.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fail(message: str, code: int) -> NoReturn:
    if is_verbose():
        PlainConsole(stderr=True).print(traceback.format_exc(), end="")
    if message:  # none if a command has printed its help, or if nobody reads any more
        tell_problem(f"study: {message}")
    try:
        print(end="", flush=True)
    except OSError:
        # The interpreter would try again at its end, and tell of it in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
