"""A report as plain data; its tables and pictures as files, and all of it as one HTML page."""

import io
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from math import ceil
from operator import attrgetter
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
SHEET_FORMATS = {"md": sheet_markdown, "csv": sheet_csv, "tex": sheet_latex}


@dataclass(frozen=True)
class Picture:
    """A picture: ``draw`` fills an empty figure of ``size``, width and height in inches.

    ``name`` is the stem of its files; ``alt`` says what it shows to readers who cannot see it.
    """

    name: str
    alt: str
    caption: str
    draw: Callable[[Figure], None]
    size: tuple[float, float]


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading."""

    title: str
    paragraphs: tuple[str, ...]
    sheets: tuple[Sheet, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Page:
    """A report in plain texts; ``facts`` are names and values that say where its numbers come from."""

    title: str
    question: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def sheets(self) -> list[Sheet]:
        """All tables of the page, in order."""
        return list(chain.from_iterable(map(attrgetter("sheets"), self.sections)))

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the page, in order."""
        return list(chain.from_iterable(map(attrgetter("pictures"), self.sections)))


@dataclass(frozen=True)
class Panels:
    """What a picture of equal panels shows: each of ``contents``, drawn on its own axes.

    ``size`` is the width and height of one panel in inches; they fill ``columns`` row by row.
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
    """Write tables, pictures and, last, ``report.html`` into a folder; return their paths.

    The folder is made if it is missing. The same page gives the same bytes. Raises
    AnalysisError for a format not in FORMATS and a folder that cannot be written,
    ValueError if two tables or two pictures have the same name.
    """
    if unknown := ", ".join(sorted(set(formats) - set(FORMATS))):
        raise AnalysisError(f"no report format {unknown}; the formats are {', '.join(FORMATS)}")
    contents = _contents(page, formats)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            # Whoever reads the folder meanwhile, or after a kill, sees a whole file or none.
            partial = out / f".{name}.tmp"
            partial.write_bytes(content)
            partial.replace(out / name)
    except OSError as error:
        raise AnalysisError(f"cannot write the report to {out}: {error}; give another folder with --out") from None
    return list(map(out.joinpath, contents))


def _contents(page: Page, formats: Collection[str]) -> dict[str, bytes]:
    _check_names(page.sheets)
    _check_names(page.pictures)
    contents: dict[str, bytes] = {}
    for sheet in page.sheets:
        for suffix, write in SHEET_FORMATS.items():
            if suffix in formats:
                contents[f"{sheet.name}.{suffix}"] = write(sheet).encode()

    # The page has its pictures as SVG, also if no files of them are wanted.
    inline = {}
    for picture in page.pictures if {"html", "png", "svg"} & set(formats) else ():
        files = _draw(picture, png="png" in formats)
        inline[picture.name] = _inline(picture, files["svg"].decode())
        for suffix, content in files.items():
            if suffix in formats:
                contents[f"{picture.name}.{suffix}"] = content
    if "html" in formats:
        contents["report.html"] = _html(page, inline).encode()
    return contents


def _check_names(items: Sequence[Sheet] | Sequence[Picture]) -> None:
    names = list(map(attrgetter("name"), items))
    if len(set(names)) < len(names):
        raise ValueError(f"names of files occur twice: {names}")


def draw_figure(picture: Picture) -> Figure:
    """Draw a picture as a figure of matplotlib, apart from pyplot."""
    figure = Figure(figsize=picture.size, layout="constrained")
    picture.draw(figure)
    return figure


def _draw(picture: Picture, png: bool) -> dict[str, bytes]:
    """Draw as SVG and PNG, without ids, date and version, which differ each time."""
    figure = draw_figure(picture)
    files = {"svg": io.BytesIO()}
    # The canvases draw once; savefig would lay out and draw everything twice.
    with matplotlib.rc_context({"svg.hashsalt": "study"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(files["svg"], metadata=metadata)  # type: ignore[no-untyped-call]
    if png:
        files["png"] = io.BytesIO()
        figure.set_layout_engine("none")  # it stays as it is laid out
        figure.dpi = 150
        # Level 6, the default, takes twice as long for files that are hardly smaller.
        options = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
        FigureCanvasAgg(figure).print_png(files["png"], **options)  # type: ignore[no-untyped-call]
    return {suffix: file.getvalue() for suffix, file in files.items()}


def _inline(picture: Picture, svg: str) -> Markup:
    """Return only the svg element, with its alt text and ids that no other picture has."""
    svg = re.sub("<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'((?<=\sid=")|(?<=href="#)|(?<=url\(#))', f"{picture.name}-", svg)
    # A style element in an SVG is the whole page's.
    svg = svg.replace("*{", "figure svg *{")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(picture.alt)}"', 1))


def _html(page: Page, inline: dict[str, Markup]) -> str:
    loader = jinja2.PackageLoader("analysis.output", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = environment.keep_trailing_newline = True
    # The page's security policy knows its script by this hash.
    environment.filters["sha256"] = lambda text: b64encode(sha256(text.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(page=page, inline=inline)
