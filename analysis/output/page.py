"""A report as plain data, its tables and pictures as files, and all of it as one HTML page that needs nothing else."""

import base64
import hashlib
import io
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.output.formats import sheet_csv, sheet_latex, sheet_markdown
from analysis.output.sheet import Sheet
from analysis.stored import AnalysisError

FORMATS = ("csv", "html", "md", "png", "svg", "tex")
BEST = "by mean validation accuracy"  # in texts
SHEET_FORMATS = {"md": sheet_markdown, "csv": sheet_csv, "tex": sheet_latex}


@dataclass(frozen=True)
class Picture:
    """A picture: ``draw`` fills an empty figure of ``size``, width and height in inches.

    ``name`` is the stem of its files, ``alt`` says what it shows to who cannot see it.
    """

    name: str
    alt: str
    caption: str
    draw: Callable[[Figure], None]
    size: tuple[float, float]


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    title: str
    paragraphs: tuple[str, ...]
    sheets: tuple[Sheet, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Page:
    """A report. All texts are plain; ``facts`` are names and values that say where the numbers come from."""

    title: str
    question: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Panels:
    """What a picture of equal panels shows: each of ``contents`` on its own axes, drawn by ``draw``.

    ``size`` is the width and height of one panel in inches; the panels fill ``columns`` columns row by row.
    """

    contents: Sequence[Any]
    draw: Callable[[Any, Axes], None]
    size: tuple[float, float]
    columns: int = 1


def make_picture(name: str, alt: str, caption: str, panels: Panels) -> Picture:
    """Make a picture of some panels."""
    rows = ceil(len(panels.contents) / panels.columns)
    width, height = panels.size

    def draw_all(figure: Figure) -> None:
        for index, content in enumerate(panels.contents):
            panels.draw(content, figure.add_subplot(rows, panels.columns, index + 1))

    return Picture(name, alt, caption, draw_all, (width * panels.columns, height * rows))


def write_page(page: Page, out: Path, formats: Collection[str] = FORMATS) -> list[Path]:
    """Write tables, pictures and, last, ``report.html`` into a folder, made where missing; return their paths.

    The same page gives the same bytes. Raises AnalysisError for a format not in FORMATS, and where the folder cannot
    be written; ValueError where two tables or two pictures have the same name.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise AnalysisError(f"no report format {', '.join(unknown)}; the formats are {', '.join(FORMATS)}")
    sheets = [sheet for section in page.sections for sheet in section.sheets]
    pictures = [picture for section in page.sections for picture in section.pictures]
    for names in ([sheet.name for sheet in sheets], [picture.name for picture in pictures]):
        if len(set(names)) < len(names):
            raise ValueError(f"names of files occur twice: {names}")
    contents = {
        f"{sheet.name}.{suffix}": write(sheet).encode()
        for sheet in sheets
        for suffix, write in SHEET_FORMATS.items()
        if suffix in formats
    }
    drawn = {}
    if {"html", "png", "svg"} & set(formats):
        drawn = {picture.name: _draw(picture, png="png" in formats) for picture in pictures}
    for name, files in drawn.items():
        contents |= {f"{name}.{suffix}": content for suffix, content in files.items() if suffix in formats}
    if "html" in formats:
        inline = {picture.name: _inline(picture, drawn[picture.name]["svg"].decode()) for picture in pictures}
        contents["report.html"] = _html(page, inline).encode()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise AnalysisError(f"cannot write the report to {out}: {error}; give another folder with --out") from None
    return [out / name for name in contents]


def draw_figure(picture: Picture) -> Figure:
    """Draw a picture as a figure of matplotlib, apart from pyplot."""
    figure = Figure(figsize=picture.size, layout="constrained")
    picture.draw(figure)
    return figure


def _draw(picture: Picture, png: bool) -> dict[str, bytes]:
    """Draw as SVG and PNG, without the ids, date and version that differ from one writing to the next."""
    figure = draw_figure(picture)
    files = {"svg": io.BytesIO()}
    # By the canvases, since savefig would lay out and draw everything twice as often.
    with matplotlib.rc_context({"svg.hashsalt": "study"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(files["svg"], metadata=metadata)  # type: ignore[no-untyped-call]
    if png:
        files["png"] = io.BytesIO()
        figure.set_layout_engine("none")  # it stays as it is laid out
        figure.dpi = 150
        canvas = FigureCanvasAgg(figure)
        fast = {"compress_level": 3}  # the default, 6, takes twice as long for little less
        canvas.print_png(files["png"], metadata={"Software": None}, pil_kwargs=fast)  # type: ignore[no-untyped-call]
    return {suffix: file.getvalue() for suffix, file in files.items()}


def _inline(picture: Picture, svg: str) -> Markup:
    """Return the svg element alone, with its alt text, and ids that no other picture on the page has."""
    svg = re.sub("<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'((?<=\sid=")|(?<=href="#)|(?<=url\(#))', f"{picture.name}-", svg)
    # A style element in an SVG is the whole page's.
    svg = svg.replace("*{", "figure svg *{")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(picture.alt)}"', 1))


def _html(page: Page, inline: dict[str, Markup]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.output", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sha256"] = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(page=page, inline=inline)
