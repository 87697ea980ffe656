"""Where lines go: answers to standard output, problems to standard error, hints as wanted."""

import logging
from collections.abc import Mapping

from rich.console import Console

LOG = logging.getLogger("study")  # WARNING: quiet; INFO: as usual; DEBUG: verbose


def set_level(quiet: bool, verbose: bool) -> None:
    """Leave out progress and hints if ``quiet``; ``verbose``, which counts more, adds Ray's messages and tracebacks."""
    level = logging.WARNING if quiet else logging.INFO
    LOG.setLevel(logging.DEBUG if verbose else level)


def is_verbose() -> bool:
    """Tell whether the user wants to see everything."""
    return LOG.isEnabledFor(logging.DEBUG)


def notes(machine_reads: bool = False) -> Console:
    """Return where hints go: to standard error if a machine reads standard output."""
    return Console(stderr=machine_reads, quiet=not LOG.isEnabledFor(logging.INFO), emoji=False)


def tell_problem(line: str) -> None:
    """Print one line about something that went wrong."""
    # Without emoji: in "model loop:train: it is no generator", :train: would become a picture.
    console = Console(stderr=True, emoji=False)
    console.print(line, style="red", soft_wrap=True, highlight=False, markup=False)


def tell_unreadable(files: Mapping[str, str], where: str = "", then: str = "run the study again to restore it") -> None:
    """Print one line for each file that is no part of a study and what is wrong; ``where`` comes before its name."""
    for file, problem in files.items():
        tell_problem(f"{where}{file} {problem}; {then}")
