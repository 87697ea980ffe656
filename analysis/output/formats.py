"""A sheet as a rich table, Markdown, CSV or LaTeX."""

import csv
import io
import re

from rich import box
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from analysis.output.sheet import Sheet

SETTINGS, WHOLE = 3, 14  # columns of settings, and characters of a number, for which a screen of 80 columns has room


LATEX_LONG, LATEX_WIDTH = 35, "4cm"  # a text column with more characters is broken into lines of this width


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
