"""A sheet: a plain table with one text a value, written to the screen, Markdown, CSV and LaTeX alike."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

NONE = "–"
SETTINGS, WHOLE = 3, 14  # columns of settings, and characters of a number, for which a screen of 80 columns has room
LATEX_LONG, LATEX_WIDTH = 35, "4cm"  # a text column with more characters is broken into lines of this width


@dataclass(frozen=True)
class Column:
    """A column of what people read: its heading, and how a row of raw values becomes its text.

    A ``setting`` of a cell stands before all that is not one.
    """

    heading: str
    text: Callable[[Mapping[str, Any]], str]
    numeric: bool = False
    setting: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: ``rows`` hold raw values by name for programs, ``columns`` say what people read of them.

    ``name`` is the stem of its files. Accuracies and their differences are fractions in ``rows``, percent and points
    in the texts. An unknown value is None. Where ``shown`` is given, people read the rows at these places alone; a
    column of words in which no row has any is not read either.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    shown: tuple[int, ...] | None = None

    @cached_property
    def texts(self) -> list[list[str]]:
        """What people read, row by row."""
        return [[column.text(row) or NONE for column in self.read] for row in self._rows]

    @cached_property
    def read(self) -> tuple[Column, ...]:
        """The columns that people read."""
        return tuple(
            column
            for column in self.columns
            if column.numeric or not self._rows or any(column.text(row) not in ("", NONE) for row in self._rows)
        )

    @property
    def _rows(self) -> Sequence[Mapping[str, Any]]:
        return self.rows if self.shown is None else [self.rows[place] for place in self.shown]


def percent(value: float | None, sign: bool = False) -> str:
    """Write a fraction in percent, or a difference of fractions in points; a dash for None.

    Means of the same accuracies, added up in another order, are written alike.
    """
    return NONE if value is None or value != value else f"{round(100 * value, 9):{'+' if sign else ''}.1f}"


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """Write the ends of an interval of fractions in percent or points; a dash for None."""
    if low is None or high is None or low != low or high != high:
        return NONE
    return f"{percent(low, sign)} to {percent(high, sign)}"


def probability(value: float | None) -> str:
    """Write a p value."""
    if value is None or value != value:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def sheet_rich(sheet: Sheet) -> Table:
    """Draw the sheet for the screen; more than SETTINGS columns of settings become one of words."""
    drawn = Table(title=Text(sheet.title), caption_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    drawn.caption = Text("\n".join([sheet.caption, *sheet.notes]))
    settings = [column.heading for column in sheet.read if column.setting]
    joined = len(settings) if len(settings) > SETTINGS else 0  # they come first
    if joined:
        drawn.add_column("cell")
    for place, column in enumerate(sheet.read[joined:], joined):
        whole = column.numeric and all(len(row[place]) <= WHOLE for row in sheet.texts)
        drawn.add_column(column.heading, justify="right" if column.numeric else "left", no_wrap=whole)
    for row in sheet.texts:
        cell = ", ".join(map(" ".join, zip(settings, row[:joined], strict=False)))
        drawn.add_row(*map(Text, [*([cell] if joined else []), *row[joined:]]))
    return drawn


def sheet_markdown(sheet: Sheet) -> str:
    """Write the sheet as GitHub Markdown, its notes below."""
    rows = [list(map(markdown, row)) for row in sheet.texts]
    align = ["right" if column.numeric else "left" for column in sheet.read]
    headers = [markdown(column.heading) for column in sheet.read]
    table = tabulate(rows, headers, tablefmt="github", colalign=align if rows else None, disable_numparse=True)
    lines = [f"## {markdown(sheet.title)}", "", table, "", markdown(sheet.caption)]
    return "\n".join([*lines, *(["", *(f"- {markdown(note)}" for note in sheet.notes)] if sheet.notes else [])]) + "\n"


def markdown(text: str) -> str:
    """Escape a text for GitHub Markdown, on one line; what means nothing there, as in ``< 0.001``, stays as it is."""
    special = r"[\\`*~\[|]|[<&](?=[\w/!?#])|(?<!\w)_|_(?!\w)"
    return re.sub(special, r"\\\g<0>", " ".join(text.split()))


def sheet_csv(sheet: Sheet) -> str:
    """Write the raw values for programs: at full precision, empty if unknown."""
    stream = io.StringIO()
    names = list(dict.fromkeys(name for row in sheet.rows for name in row))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sheet.rows)
    return stream.getvalue()


def sheet_latex(sheet: Sheet) -> str:
    """Write the sheet as LaTeX; it needs the package booktabs."""
    texts = sheet.texts
    rows = [" & ".join(map(latex, row)) + r" \\" for row in texts]
    lengths = [max((len(row[i]) for row in texts), default=0) for i in range(len(sheet.read))]
    align = "".join(
        "r" if column.numeric else f"p{{{LATEX_WIDTH}}}" if length > LATEX_LONG else "l"
        for column, length in zip(sheet.read, lengths, strict=True)
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(sheet.title)}. {latex(sheet.caption)}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            " & ".join(latex(column.heading) for column in sheet.read) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {latex(note)}" for note in sheet.notes),
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Escape a text for LaTeX."""
    escapes: dict[str, str | int | None] = {character: f"\\{character}" for character in "&%$#_{}"}
    escapes |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    # A bar is a dash in LaTeX's oldest encoding; a bracket after the end of a row would be its argument.
    escapes |= {"|": r"\textbar{}", "[": "{[}"}
    escapes |= {"–": "--", "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}", "≤": r"$\le$", "η": r"$\eta$"}
    return text.translate(str.maketrans(escapes | {"²": r"$^2$", "−": "$-$"}))
