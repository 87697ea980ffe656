"""The pages of a study of the course report's networks: its table, its figures, and its claims held against them."""

import numpy as np

from analysis.course_report.claims import Finding, claims_sheet, findings_data, summarise
from analysis.course_report.classifier_table import classifier_sheet
from analysis.course_report.decomposition import Steps, decomposition_sheet, decompositions_data, steps_data
from analysis.course_report.figures.aux_weight import SERIES, aux_weight_data, draw_aux_weight
from analysis.course_report.figures.boxes import boxes_data, draw_boxes
from analysis.course_report.figures.compared import compared_data, draw_compared
from analysis.course_report.figures.network import draw_network, network_data
from analysis.course_report.table1 import table1_data, table1_sheet
from analysis.load import StudyData
from analysis.output.page import BEST, Panels, Section, make_picture
from analysis.output.sheet import interval, percent
from analysis.statistics.intervals import Estimate

QUESTION = (
    "For a network that says which of two handwritten digits is not the larger: what do weight sharing, an auxiliary "
    "digit loss and dropout each buy?"
)


# What the report has not, with the value that leaves it out.
EXTRAS = {"pairing": "drawn", "shift": 0, "distort": 0, "batch_norm": False, "width": 1}


def is_replication(data: StudyData) -> bool:
    """Tell whether all cells of a study are the report's networks, with nothing that it has not."""
    return all(
        cell["model"] in ("comparator", "classifier")
        and all(cell.get(name, off) == off for name, off in EXTRAS.items())
        for cell in data.info.cells
    )


def verdicts(
    data: StudyData, crossed: StudyData, rng: np.random.Generator
) -> tuple[tuple[str, ...], list[Section | None]]:
    """Return what the study says of the report in a few sentences, and the sections that show it.

    ``crossed`` is a study in which dropout and learning rate are crossed, this one or another.
    """
    findings, steps = findings_data(data, rng), steps_data(crossed, rng)
    sections = [
        Section("Accuracy by configuration", (), (table1_sheet(table1_data(data)),)),
        _claims(findings),
        _decomposition(crossed, steps, rng),
    ]
    return (*summarise(findings), *_steps_in_words(steps)), sections


def figures(data: StudyData, rng: np.random.Generator) -> list[Section | None]:
    """Return the sections with the report's figures, and with its digit classifier."""
    return [_aux_weight(data), _boxes(data), _classifier(data, rng)]


def _claims(findings: tuple[Finding, ...]) -> Section:
    picture = make_picture(
        "compared",
        "Reported against measured accuracies with their intervals, and the line on which both are equal",
        "Every accuracy that the report gives, against the one measured; bars are 95 % intervals.",
        Panels([compared_data(findings)], draw_compared, (6.4, 5.6)),
    )
    return Section("Verdicts", (), (claims_sheet(findings),), (picture,))


def _decomposition(data: StudyData, steps: Steps | None, rng: np.random.Generator) -> Section | None:
    rows = decompositions_data(data, rng)
    if not rows:
        return None
    text = (
        "The report's code raised the learning rate from 0.001 to 0.01 together with dropout, so that its gain from "
        "dropout mixes two causes. Here each is raised alone, and both together."
    )
    return Section("What the gain from dropout is made of", (text,), (decomposition_sheet(data.name, rows, steps),))


def _steps_in_words(steps: Steps | None) -> list[str]:
    if steps is None:
        return []

    def words(found: Estimate) -> str:
        return f"{percent(found.mean, sign=True)} ({interval(found.low, found.high, sign=True)})"

    return [
        f"Of the {words(steps.both)} points from the best cell without dropout to the best with it, the learning rate "
        f"alone carries {words(steps.rate)}, dropout alone {words(steps.dropout)}, their interaction "
        f"{words(steps.interaction)} and the weight's change from 10 to 1 {words(steps.weight)}."
    ]


def _aux_weight(data: StudyData) -> Section:
    pictures = []
    for sharing in (False, True):
        info = aux_weight_data(data, sharing)
        rest = f" The {SERIES} best series {BEST} of their best cells; {info.left_out} are left out."
        pictures.append(
            make_picture(
                f"figure{2 + sharing}",
                f"Test accuracy against the auxiliary weight, {('without', 'with')[sharing]} weight sharing",
                f"Figure {2 + sharing}. Mean ± standard deviation over the seeds of a cell."
                + (rest if info.left_out else ""),
                Panels([info], draw_aux_weight, (6.4, 4.6)),
            )
        )
    return Section("Accuracy against the auxiliary weight", (), (), tuple(pictures))


def _boxes(data: StudyData) -> Section:
    pictures = [
        make_picture(
            f"figure{4 + dropout}",
            f"Box plots of training and test accuracy of the best cell {('without', 'with')[dropout]} dropout",
            f"Figure {4 + dropout}. The cell that validation chose {('without', 'with')[dropout]} dropout; points are "
            "seeds.",
            Panels([boxes_data(data, dropout=bool(dropout))], draw_boxes, (6.4, 4.2)),
        )
        for dropout in (False, True)
    ]
    return Section("The best cells without and with dropout", (), (), tuple(pictures))


def _classifier(data: StudyData, rng: np.random.Generator) -> Section | None:
    sheet = classifier_sheet(data, rng)
    text = "A network that learns the digits alone, whose two predictions are then compared."
    return None if sheet is None else Section("Reading the digits instead", (text,), (sheet,))


def networks(data: StudyData) -> Section | None:
    """Return the section that draws the networks, None where the study does not say what they were."""
    infos = network_data(data)
    if not infos:
        return None
    picture = make_picture(
        "figure1",
        "The layers of the networks, what each reads, its weights and the shape of its output",
        "Figure 1. Drawn from the layers that the study trained; convolutions are followed by 2x2 max-pooling.",
        Panels(infos, draw_network, (10.0, 3.2)),
    )
    return Section("The networks", (), (), (picture,))
