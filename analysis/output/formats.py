"""A sheet as a rich table, Markdown, CSV or LaTeX."""

import csv
import io
import re
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

from rich import box
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from analysis.output.sheet import Column, Sheet, spreadsheet_text

# A screen of 80 columns has room for so many columns of settings, and for numbers of so many characters.
SCREEN_SETTINGS = 3
SCREEN_NUMBER = 14
# A column of words with a longer text is broken into lines of this width.
LATEX_LONG = 35
LATEX_WIDTH = "4cm"

# Characters that mean something in LaTeX, or that its oldest encoding does not have.
LATEX_ESCAPES: dict[str, str | int | None] = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "|": r"\textbar{}",  # a bar is a dash in the oldest encoding
    "[": "{[}",  # after the end of a row, a bracket would be its argument
    "–": "--",
    "×": r"$\times$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≤": r"$\le$",
    "η": r"$\eta$",
    "²": r"$^2$",
    "−": "$-$",
}


def sheet_rich(sheet: Sheet) -> Table:
    """Draw the sheet for the screen; more than SCREEN_SETTINGS columns of settings become one of words."""
    drawn = Table(title=Text(sheet.title), caption_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    drawn.caption = Text("\n".join([sheet.caption, *sheet.notes]))
    settings = [column.heading for column in sheet.visible_columns if column.setting]
    joined = len(settings) if len(settings) > SCREEN_SETTINGS else 0  # settings are the first columns
    if joined:
        drawn.add_column("cell")

    # Numbers that are short enough are never broken into lines.
    for place, column in enumerate(sheet.visible_columns[joined:], joined):
        whole = column.numeric and _longest(sheet.texts, place) <= SCREEN_NUMBER
        drawn.add_column(column.heading, justify="right" if column.numeric else "left", no_wrap=whole)
    for row in sheet.texts:
        texts = row[joined:]
        if joined:
            texts.insert(0, ", ".join(map(" ".join, zip(settings, row[:joined], strict=True))))
        drawn.add_row(*map(Text, texts))
    return drawn


def sheet_markdown(sheet: Sheet) -> str:
    """Write the sheet as GitHub Markdown, its notes below."""
    rows = [list(map(markdown, row)) for row in sheet.texts]
    headers = [markdown(column.heading) for column in sheet.visible_columns]
    align = ["right" if column.numeric else "left" for column in sheet.visible_columns]
    # Texts are written as they are: tabulate would align numbers by their points.
    table = tabulate(rows, headers, tablefmt="github", colalign=align if rows else None, disable_numparse=True)
    lines = [f"## {markdown(sheet.title)}", "", table, "", markdown(sheet.caption)]
    lines += [""] if sheet.notes else []
    lines += [f"- {markdown(note)}" for note in sheet.notes]
    return "\n".join([*lines, ""])


def markdown(text: str) -> str:
    """Escape a text for GitHub Markdown, on one line; what means nothing there, as in ``< 0.001``, stays as it is."""
    special = r"[\\`*~\[|]|[<&](?=[\w/!?#])|(?<!\w)_|_(?!\w)"
    return re.sub(special, r"\\\g<0>", " ".join(text.split()))


def sheet_csv(sheet: Sheet) -> str:
    """Write the raw values for programs: at full precision, empty if unknown."""
    stream = io.StringIO()
    names = dict.fromkeys(chain.from_iterable(sheet.rows))  # in the order in which the rows bring them
    writer = csv.DictWriter(stream, list(names), lineterminator="\n")
    writer.writeheader()
    for row in sheet.rows:
        writer.writerow({name: spreadsheet_text(value) for name, value in row.items()})
    return stream.getvalue()


def sheet_latex(sheet: Sheet) -> str:
    """Write the sheet as LaTeX; it needs the package booktabs."""
    columns = sheet.visible_columns
    align = "".join(_latex_alignment(column, _longest(sheet.texts, at)) for at, column in enumerate(columns))
    headings = _latex_row(list(map(attrgetter("heading"), columns)))
    caption = rf"\caption{{{latex(sheet.title)}. {latex(sheet.caption)}}}"
    lines = [r"\begin{table}", r"\centering", caption]
    lines += [rf"\begin{{tabular}}{{{align}}}", r"\toprule", headings, r"\midrule"]
    lines += map(_latex_row, sheet.texts)
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {latex(note)}" for note in sheet.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _longest(texts: Sequence[Sequence[str]], place: int) -> int:
    return max((len(row[place]) for row in texts), default=0)


def _latex_alignment(column: Column, longest: int) -> str:
    if column.numeric:
        return "r"
    return f"p{{{LATEX_WIDTH}}}" if longest > LATEX_LONG else "l"


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(map(latex, texts)) + r" \\"


def latex(text: str) -> str:
    """Escape a text for LaTeX."""
    return text.translate(str.maketrans(LATEX_ESCAPES))
