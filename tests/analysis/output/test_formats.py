import csv
import io
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from analysis.output.formats import latex, markdown, sheet_csv, sheet_latex, sheet_markdown, sheet_rich
from analysis.output.sheet import Column, Sheet
from tests.analysis.output.test_sheet import SHEET

HOSTILE = (
    '<script>alert("x")</script>',
    "a|b",
    "50 % of R&amp;D &copy",
    r"C:\dir\|",
    "_a_ a_b **c** `d` [e](f) ![g](h) ~i~",
    "two\nlines",
    "<!-- -->",
)


def on_screen(sheet: Sheet) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(sheet_rich(sheet))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    return text


def test_many_settings_are_one_column_of_the_screen_so_that_numbers_stay_whole() -> None:
    settings = {"pairing": "renewed", "shift": "1", "distort": "0.25", "batch norm": "on", "width": "2"}
    figures = {
        "test": "98.7",
        "std": "0.4",
        "95 % interval": "98.4 to 99.0",
        "validation": "98.5",
        "test digits": "98.6",
    }
    columns = [Column(name, lambda row, name=name: row[name], setting=True) for name in settings]
    columns += [Column(name, lambda row, name=name: row[name], numeric=True) for name in figures]
    sheet = replace(SHEET, columns=tuple(columns), rows=(settings | figures,))
    text = on_screen(sheet)
    words = " ".join(line[:24].strip() for line in text.splitlines())
    assert "cell" in words
    assert "98.7 0.4 98.4 to 99.0 98.5 98.6" in " ".join(text.split())
    assert all(part in text for part in ("pairing renewed", "batch norm"))
    few = on_screen(replace(sheet, columns=sheet.columns[2:]))
    assert "distort batch norm width" in " ".join(few.split())
    assert "cell" not in few


def test_markdown() -> None:
    assert sheet_markdown(SHEET).splitlines() == [
        "## Made",
        "",
        "| what   |   accuracy |",
        "|--------|------------|",
        "| first  |       81.2 |",
        "| –      |          – |",
        "",
        "In percent.",
        "",
        "- One.",
        "- Two.",
    ]


def test_latex() -> None:
    assert sheet_latex(SHEET).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Made. In percent.}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"what & accuracy \\",
        r"\midrule",
        r"first & 81.2 \\",
        r"-- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\footnotesize One.",
        r"\par\footnotesize Two.",
        r"\end{table}",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_hostile_text_as_it_is(text: str) -> None:
    column = Column(text, lambda row: row["text"])
    sheet = Sheet("made", text, text, (column,), ({"text": text},), notes=(text,))
    tokens = MarkdownIt().enable(["table", "strikethrough"]).parse(sheet_markdown(sheet))
    shown = [token for token in tokens if token.type == "inline"]
    assert len(shown) == 5  # title, heading, cell, caption, note
    for token in shown:
        assert {child.type for child in token.children or []} <= {"text", "text_special"}
        assert "".join(child.content for child in token.children or []) == text.replace("\n", " ")


def test_markdown_leaves_what_means_nothing_there() -> None:
    for text in ("< 0.001", "aux_weight 1 & 3", "81.2 ± 0.3 (n = 10)", "+1.5 to +3.4"):
        assert markdown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>", r"\textless{}script\textgreater{}"),
        ("a|b", r"a\textbar{}b"),
        ("50 % of R&D", r"50 \% of R\&D"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("$x_1^2$ #~", r"\$x\_1\textasciicircum{}2\$ \#\textasciitilde{}"),
        ("[2pt]", "{[}2pt]"),
    ],
)
def test_latex_is_escaped(text: str, expected: str) -> None:
    assert latex(text) == expected
    sheet = Sheet("made", text, text, (Column(text, lambda row: row["text"]),), ({"text": text},), notes=(text,))
    assert sheet_latex(sheet).count(expected) == 5


def test_csv_keeps_full_precision_and_any_text() -> None:
    rows = tuple({"text": text, "value": 0.1 + 0.2} for text in HOSTILE)
    back = list(csv.DictReader(io.StringIO(sheet_csv(Sheet("made", "", "", (), rows)), newline="")))
    assert [row["text"] for row in back] == list(HOSTILE)
    assert {float(row["value"]) for row in back} == {0.1 + 0.2}


def test_long_texts_are_broken_into_lines_in_latex() -> None:
    rows = ({"what": "x" * 35, "a": 1.0}, {"what": "short", "a": 1.0})
    assert r"\begin{tabular}{lr}" in sheet_latex(replace(SHEET, rows=rows))
    rows = ({"what": "x" * 36, "a": 1.0}, {"what": "short", "a": 1.0})
    assert r"\begin{tabular}{p{4cm}r}" in sheet_latex(replace(SHEET, rows=rows))
