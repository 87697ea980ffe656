"""What a study of the course report's networks adds to the report of any study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from analysis.course_report.claims_table import claims_rich, claims_sheet, summarise
from analysis.course_report.decomposition import decomposition_sheet, decompositions_data, step_data, step_in_words
from analysis.course_report.figures.aux_weight import aux_weight_picture
from analysis.course_report.figures.boxes import boxes_picture
from analysis.course_report.figures.compared import compared_picture
from analysis.course_report.figures.network import network_picture
from analysis.course_report.reported import PROTOCOL
from analysis.course_report.table1 import table1_rich, table1_sheet
from analysis.course_report.verdicts import findings_data
from analysis.load import StudyData
from analysis.output.page import Section
from analysis.output.sheet import Sheet

QUESTION = (
    "For a network that says which of two handwritten digits is not the larger: what do weight sharing, an auxiliary "
    "digit loss and dropout each buy?"
)
TWO_CAUSES = (
    "The report's code raised the learning rate from 0.001 to 0.01 together with dropout, so its gain from "
    "dropout has two causes. Here each is changed by itself, and then both together."
)
EXTRAS = ("pairing", "shift", "distort", "batch_norm", "width")  # what the report's networks do not have
CROSSED_GRID = "dropout-or-rate"  # crosses dropout with the learning rate
DEFAULT_SOURCE = "mnist5k"  # a run appends any other data source to a study's name


def companions_of(data: StudyData) -> dict[str, str]:
    """Name the other studies that the chapters use: that of CROSSED_GRID on the same data."""
    source = data.info.protocol.get("data", DEFAULT_SOURCE)
    return {"crossed": CROSSED_GRID if source == DEFAULT_SOURCE else f"{CROSSED_GRID}-{source}"}


def chapters_for(data: StudyData, related: Mapping[str, StudyData]) -> "Chapters | None":
    """Return a study's chapters; None unless all its cells are the report's networks, judged by accuracy.

    ``related`` has the studies that ``companions_of`` names, as far as there are any.
    """
    if data.info.objective != "accuracy":
        return None
    for cell in data.info.cells:
        extra = any(cell.get(name, PROTOCOL[name]) != PROTOCOL[name] for name in EXTRAS)
        if extra or cell["model"] not in ("comparator", "classifier"):
            return None
    # Without a companion of the same protocol, the study itself may cross dropout with the learning rate.
    other = related.get("crossed", data)
    different = [name for name in (*PROTOCOL, "data") if _common(data, name) != _common(other, name)]
    if not different:
        return Chapters(data, other)
    names = " and ".join(name.replace("_", " ") for name in different)
    return Chapters(data, data, f"Study {other.name} is not used here: it was trained with other {names}.")


def _common(data: StudyData, name: str) -> Any:
    """Return a setting that all cells of a study share; the usual value if they differ or lack it."""
    return data.info.protocol.get(name, PROTOCOL.get(name, DEFAULT_SOURCE))


@dataclass(frozen=True)
class Chapters:
    """The chapters of a study, in the order of the report.

    ``crossed`` is the study that crosses dropout with the learning rate; ``unused`` says why it is not another one.
    """

    data: StudyData
    crossed: StudyData
    unused: str = ""
    question: str = QUESTION

    def opening(self) -> tuple[tuple[str, ...], list[Section]]:
        """Return what the study says of the report in sentences, and the sections that show it."""
        findings = findings_data(self.data)
        step = step_data(self.crossed)
        parts = decompositions_data(self.crossed)
        summary = summarise(findings)
        if step is not None:
            summary.append(step_in_words(self.crossed.name, step))
        if self.unused:
            summary.append(self.unused)
        sections = [
            Section("Accuracy by configuration", (), (table1_sheet(self.data),)),
            Section("Verdicts", (), (claims_sheet(findings),), (compared_picture(findings),)),
        ]
        # The report's step goes below what it is made of.
        if parts:
            sheet = decomposition_sheet(self.crossed.name, [*parts, *filter(None, [step])])
            sections.append(Section("What the gain from dropout is made of", (TWO_CAUSES,), (sheet,)))
        return tuple(summary), sections

    def figures(self) -> list[Section]:
        """Return the sections with the report's figures."""
        by_weight = aux_weight_picture(self.data, sharing=False), aux_weight_picture(self.data, sharing=True)
        boxes = boxes_picture(self.data, dropout=False), boxes_picture(self.data, dropout=True)
        return [
            Section("Accuracy against the auxiliary weight", (), (), by_weight),
            Section("The best cells without and with dropout", (), (), boxes),
        ]

    def closing(self) -> list[Section]:
        """Return the section that draws the networks, if the study recorded them."""
        picture = network_picture(self.data)
        return [] if picture is None else [Section("The networks", (), (), (picture,))]

    def tables_on_screen(self, sheets: Mapping[str, Sheet]) -> list[Table]:
        """Return what the terminal shows of the report, whose sheets are given by name."""
        return [claims_rich(sheets["claims"]), table1_rich(self.data.name, sheets["table1"])]
