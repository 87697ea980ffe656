import csv
import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.image
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from analysis.course_report.claims_table import claims_sheet, summarise
from analysis.course_report.figures.aux_weight import aux_weight_data, draw_aux_weight
from analysis.course_report.table1 import table1_sheet
from analysis.course_report.verdicts import findings_data
from analysis.load import StudyData
from analysis.output.page import FORMATS, Page, Picture, Section, write_page
from analysis.output.sheet import NONE, Column, Sheet
from analysis.statistics.cells import cells_sheet
from analysis.statistics.effects import anova_data, anova_sheet, effects_sheet, main_effects_data
from analysis.stored import AnalysisError
from tests.analysis.conftest import StoreBuilder

HOSTILE = """<script>alert('a|b & "50 %"')</script>"""


def fill(store: StoreBuilder, interaction: float = 0.0) -> StudyData:
    """Fill a store whose cells are complete, pruned, failed and not run."""
    for sharing in (False, True):
        for dropout in (0.0, 0.5):
            for weight in (0, 1, 10):
                gain = 0.03 * sharing + 0.02 * (weight > 0) + 0.04 * dropout
                gain += interaction * sharing * (dropout > 0) * (weight > 1)
                store.cell(
                    [0.80 + gain, 0.812 + gain, 0.795 + gain],
                    sharing=sharing,
                    dropout=dropout,
                    aux_weight=weight,
                    learning_rate=0.01 if dropout else 0.001,
                )
    store.part(store.plan(aux_weight=3), [0.5] * 3, status="pruned", epochs=20)
    store.cell([None], status="failed", aux_weight=100)
    store.plan(aux_weight=1000)
    return store.load()


def make_page(data: StudyData) -> Page:
    findings = findings_data(data)

    def picture(sharing: bool) -> Picture:
        info = aux_weight_data(data, sharing)
        return Picture(
            name=f"figure{2 + sharing}",
            alt=f"Accuracy against weight, sharing {sharing}",
            caption="Mean ± standard deviation.",
            draw=lambda figure: draw_aux_weight(info, figure.add_subplot()),
            size=(6.4, 4.6),
        )

    tables = (
        table1_sheet(data),
        effects_sheet(data, main_effects_data(data)),
        anova_sheet(data, anova_data(data)),
        cells_sheet(data),
    )
    return Page(
        title=f"Study {data.name}",
        question="What does each buy?",
        summary=tuple(summarise(findings)),
        sections=(
            Section("Claims", ("Held against the study.",), (claims_sheet(findings),)),
            Section("Tables", (), tables),
            Section("Figures", ("Two of them.",), pictures=(picture(False), picture(True))),
        ),
        facts=(("grid", "full"), ("data", "0123456789abcdef" * 4)),
        warnings=("1 trial failed",),
    )


class Reader(HTMLParser):
    """Collects the tables' rows of texts, the texts by tag, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))
        if self.tags and self.tags[-1][0] in ("th", "td") and data.strip():
            self.tables[-1][-1][-1] += data


def read_csv(sheet: Sheet, path: Path) -> list[dict[str, Any]]:
    """Return the rows of a sheet's CSV: empty is unknown, or an empty text in a column of texts."""
    texts = {name for row in sheet.rows for name, value in row.items() if isinstance(value, str)}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: text if name in texts else typed(text) for name, text in row.items()} for row in rows]


def typed(text: str) -> bool | float | None:
    return {"": None, "True": True, "False": False}[text] if text in ("", "True", "False") else number(text)


def number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def test_every_number_is_the_same_in_html_markdown_and_csv(store: StoreBuilder, tmp_path: Path) -> None:
    page = make_page(fill(store))
    write_page(page, tmp_path)
    sheets = [sheet for section in page.sections for sheet in section.sheets]
    tables = Reader((tmp_path / "report.html").read_text(encoding="utf-8")).tables
    assert len(tables) == len(sheets) == 5
    compared = 0
    for sheet, (headings, *shown) in zip(sheets, tables, strict=True):
        text = (tmp_path / f"{sheet.name}.md").read_text(encoding="utf-8")
        (in_markdown,) = Reader(MarkdownIt().enable("table").render(text)).tables
        assert in_markdown == [headings, *shown]
        assert headings == [column.heading for column in sheet.columns]
        rows = read_csv(sheet, tmp_path / f"{sheet.name}.csv")
        assert [[column.text(row) or NONE for column in sheet.columns] for row in rows] == shown
        compared += sum(any(map(str.isdigit, cell)) for row in shown for cell in row)
    assert compared > 150


def hostile_page() -> Page:
    columns = (Column(HOSTILE, lambda row: row["text"]),)
    sheet = Sheet("made", HOSTILE, HOSTILE, columns, ({"text": HOSTILE},), (HOSTILE,))
    picture = Picture("drawn", HOSTILE, HOSTILE, lambda figure: figure.add_subplot().set_title("a --> <b>"), (3, 2))
    section = Section(HOSTILE, (HOSTILE,), (sheet,), (picture,))
    return Page(HOSTILE, HOSTILE, (HOSTILE,), (section,), ((HOSTILE, HOSTILE),), (HOSTILE,))


def test_hostile_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    write_page(hostile_page(), tmp_path)
    reader = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [tag for tag, _ in reader.tags].count("script") == 1
    tags = ["title", "h1", "p", "li", "li", "a", "h2", "p", "span", "span", "th", "td", "li", "figcaption", "dt", "dd"]
    assert [tag for tag, text in reader.texts if text == HOSTILE] == tags
    assert [attributes.get("aria-label") for tag, attributes in reader.tags if tag == "svg"] == [HOSTILE]
    assert r"\textless{}script\textgreater{}" in (tmp_path / "made.tex").read_text(encoding="utf-8")
    assert r"\<script>alert('a\|b & " in (tmp_path / "made.md").read_text(encoding="utf-8")


def test_the_same_page_gives_the_same_bytes(store: StoreBuilder, tmp_path: Path) -> None:
    data = fill(store)
    before = dict(matplotlib.rcParams)
    first, second = (write_page(make_page(data), tmp_path / name) for name in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), one.name
    assert dict(matplotlib.rcParams) == before
    assert b"date" not in (tmp_path / "first" / "figure2.svg").read_bytes().lower()
    assert b"Matplotlib version" not in (tmp_path / "first" / "figure2.png").read_bytes()


def small_page(drawn: list[Figure]) -> Page:
    def draw(figure: Figure) -> None:
        drawn.append(figure)
        figure.add_subplot().plot([0, 1], [0, 1])

    sheet = Sheet("made", "Made", "", (Column("a", lambda row: row["a"]),), ({"a": "1"},))
    section = Section("One", (), (sheet,), (Picture("line", "a line", "A line.", draw, (4, 3)),))
    return Page("Study", "", (), (section,), (), ())


@pytest.mark.parametrize("formats", [FORMATS, *((name,) for name in FORMATS), ("png", "md"), ()])
def test_the_formats_asked_for_are_written(formats: tuple[str, ...], tmp_path: Path) -> None:
    drawn: list[Figure] = []
    written = write_page(small_page(drawn), tmp_path / "made" / "below", formats)
    names = ["made.md", "made.csv", "made.tex", "line.svg", "line.png", "report.html"]
    assert [path.name for path in written] == [name for name in names if name.split(".")[1] in formats]
    assert sorted((tmp_path / "made" / "below").iterdir()) == sorted(written)
    assert len(drawn) == bool({"svg", "png", "html"} & set(formats))


def test_a_picture_is_the_same_in_all_formats(tmp_path: Path) -> None:
    write_page(small_page([]), tmp_path)
    assert matplotlib.image.imread(tmp_path / "line.png").shape[:2] == (450, 600)  # 150 dots an inch
    root = ElementTree.parse(tmp_path / "line.svg").getroot()
    assert (root.attrib["width"], root.attrib["height"]) == ("288pt", "216pt")
    paths = [path.attrib["d"].split() for path in root.iter("{http://www.w3.org/2000/svg}path")]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [str(tag["d"]).split() for name, tag in Reader(html).tags if name == "path"] == paths


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    expected = r"^no report format docx, pdf; the formats are csv, html, md, png, svg, tex$"
    with pytest.raises(AnalysisError, match=expected):
        write_page(small_page([]), tmp_path / "out", ("pdf", "csv", "docx"))
    assert not (tmp_path / "out").exists()


def test_no_file_is_written_over_by_another(tmp_path: Path) -> None:
    page = small_page([])
    for section in (
        dataclasses.replace(page.sections[0], pictures=()),
        dataclasses.replace(page.sections[0], sheets=()),
    ):
        with pytest.raises(ValueError, match="names of files occur twice"):
            write_page(dataclasses.replace(page, sections=(*page.sections, section)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            AnalysisError, match=f"cannot write the report to {out}: .*; give another folder with --out"
        ):
            write_page(small_page([]), out)


def test_ids_are_unique_and_every_reference_is_met(store: StoreBuilder, tmp_path: Path) -> None:
    write_page(make_page(fill(store)), tmp_path, ("html",))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader(html)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(set(ids)) == len(ids) > 100
    named = [attributes.get("xlink:href") or attributes.get("href") for _, attributes in reader.tags]
    clipped = [str(attributes.get("clip-path", "url(#)"))[4:-1] for _, attributes in reader.tags]
    labelled = [
        "#" + str(attributes["aria-labelledby"]) for _, attributes in reader.tags if "aria-labelledby" in attributes
    ]
    references = {reference for reference in (*named, *clipped, *labelled) if reference not in (None, "#")}
    assert len(references) > 20
    assert references <= {f"#{id_}" for id_ in ids}
    assert html.count("<!") == 1  # the page's own doctype
    assert "<?xml" not in html


def test_a_page_without_summary_facts_or_warnings_has_no_empty_box(tmp_path: Path) -> None:
    write_page(small_page([]), tmp_path, ("html",))
    headings = [
        text for tag, text in Reader((tmp_path / "report.html").read_text()).texts if tag == "h2" and text.strip()
    ]
    assert headings == ["Contents", "One"]
