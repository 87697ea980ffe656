"""Where lines go: answers to standard output, problems to standard error, hints as wanted.

Everything that a person reads is printed by a ``PlainConsole``, and everything that a program
reads by ``print_json``: what a user, a grid or a foreign store calls something is only text.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

LOG = logging.getLogger("study")  # WARNING: quiet; INFO: as usual; DEBUG: verbose

LONGEST_PROBLEM = 600  # characters of a line about something that went wrong
UNBOUNDED = 1_000_000  # columns: as if a line had no end

# A terminal obeys the control characters, so that each is shown as its picture: escape as ␛.
PICTURES = {code: 0x2400 + code for code in range(32)} | dict.fromkeys(range(128, 160), 65533) | {0x7F: 0x2421}
del PICTURES[ord("\n")], PICTURES[ord("\t")]


class ReaderGoneError(Exception):
    """Whoever read the output has gone, such as ``head``: nothing is left to say."""


class PlainConsole(Console):
    """A console that shows text as it is: no markup, no emoji codes, no escape sequences within it.

    No table is cut: on a terminal it has room for its longest words, elsewhere for its longest texts.
    """

    def __init__(self, **settings: Any) -> None:
        # A live table in a notebook would need ipywidgets.
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        super().__init__(**plain, force_jupyter=False, **settings)

    @property
    def is_live(self) -> bool:
        """Whether lines that have been written can be written over."""
        return self.is_terminal and not self.is_dumb_terminal

    def on_broken_pipe(self) -> None:
        """Raise ReaderGoneError; rich itself would end the program."""
        raise ReaderGoneError

    def render_str(self, text: str, **how: Any) -> Text:
        """Make a text of what is printed, as rich does."""
        return super().render_str(text.translate(PICTURES), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the parts of what is printed, as rich does."""
        options = options or self.options
        if isinstance(renderable, Table):
            options = options.update(width=self._width_of(renderable, options), no_wrap=False, overflow="fold")
        if isinstance(renderable, Text):
            renderable = renderable.copy()
            renderable.plain = renderable.plain.translate(PICTURES)
        for segment in super().render(renderable, options):
            # Those of rich itself, for colours and the like, are apart from the text.
            yield segment if segment.control else segment._replace(text=segment.text.translate(PICTURES))

    def _width_of(self, table: Table, options: ConsoleOptions) -> int:
        """Return how wide a table has to be, so that nothing in it is cut."""
        wide = options.update(width=UNBOUNDED)
        for column in table.columns:
            column.overflow = "fold"
            if column.no_wrap:  # rich itself would cut such a text
                widths = [Measurement.get(self, wide, cell).maximum for cell in column.cells]
                column.min_width = max(widths, default=0)
        needed = Measurement.get(self, wide, table)
        return max(options.max_width, needed.minimum) if self.is_terminal else needed.maximum


def set_level(quiet: bool, verbose: bool) -> None:
    """Leave out progress and hints if ``quiet``; ``verbose``, which counts more, adds Ray's messages and tracebacks."""
    level = logging.WARNING if quiet else logging.INFO
    LOG.setLevel(logging.DEBUG if verbose else level)


def is_verbose() -> bool:
    """Tell whether the user wants to see everything."""
    return LOG.isEnabledFor(logging.DEBUG)


def notes(machine_reads: bool = False) -> PlainConsole:
    """Return where hints go: to standard error if a machine reads standard output."""
    return PlainConsole(stderr=machine_reads, quiet=not LOG.isEnabledFor(logging.INFO))


def answer(*lines: RenderableType) -> None:
    """Print what was asked for to standard output: lines, tables."""
    PlainConsole().print(*lines, sep="\n")


def print_json(data: Any, indent: int | None = 1) -> None:
    """Print data as JSON in ASCII, whatever the terminal and the locale are; NaN and infinities become null."""
    from pydantic_core import to_jsonable_python

    finite = to_jsonable_python(data, inf_nan_mode="null")
    print_text(json.dumps(finite, indent=indent, allow_nan=False))


def print_text(text: str, end: str = "\n") -> None:
    """Print a text for a program, as it is; raise ReaderGoneError."""
    try:
        print(text, end=end)
    except BrokenPipeError:
        raise ReaderGoneError from None


def tell_problem(text: str) -> None:
    """Print one line about something that went wrong; a long one without its middle, unless verbose."""
    line = " ".join(text.splitlines())
    if len(line) > LONGEST_PROBLEM and not is_verbose():
        half = LONGEST_PROBLEM // 2
        line = f"{line[:half]} [...] {line[-half:]}"
    PlainConsole(stderr=True).print(line, style="red")


def tell_unreadable(files: Mapping[str, str], where: str = "", then: str = "run the study again to restore it") -> None:
    """Print one line for each file that is no part of a study and what is wrong; ``where`` comes before its name."""
    for file, problem in files.items():
        tell_problem(f"{where}{file} {problem}; {then}")
