"""What goes where: answers to standard output, problems to standard error, and the rest as the user wants it."""

import logging

from rich.console import Console

LOG = logging.getLogger("study")  # WARNING: quiet; INFO: as usual; DEBUG: verbose


def set_level(quiet: bool, verbose: bool) -> None:
    """Set how much is told: ``quiet`` leaves out progress and hints, ``verbose`` adds Ray's messages and tracebacks."""
    LOG.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def is_verbose() -> bool:
    """Tell whether the user wants to see everything."""
    return LOG.isEnabledFor(logging.DEBUG)


def notes(machine_reads: bool = False) -> Console:
    """Return where progress and hints go; where a machine reads standard output, they do not go there."""
    return Console(stderr=machine_reads, quiet=not LOG.isEnabledFor(logging.INFO))


def tell_problem(line: str) -> None:
    """Print a line about something that went wrong."""
    Console(stderr=True).print(line, style="red", soft_wrap=True, highlight=False, markup=False)
