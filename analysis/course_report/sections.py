"""The sections of the page that the course report adds."""

from collections.abc import Sequence

import numpy as np

from analysis.course_report.claims_table import claims_sheet
from analysis.course_report.classifier_table import classifier_sheet
from analysis.course_report.decomposition import Steps, decomposition_sheet, decompositions_data
from analysis.course_report.figures.aux_weight import SERIES, aux_weight_data, draw_aux_weight
from analysis.course_report.figures.boxes import boxes_data, draw_boxes
from analysis.course_report.figures.compared import compared_data, draw_compared
from analysis.course_report.figures.network import draw_network, network_data
from analysis.course_report.table1 import table1_data, table1_sheet
from analysis.course_report.verdicts import Finding
from analysis.load import StudyData
from analysis.output.page import BEST, Panels, Picture, Section, make_picture


def table1(data: StudyData) -> Section:
    """Return the section with Table I."""
    return Section("Accuracy by configuration", (), (table1_sheet(table1_data(data)),))


def verdicts(findings: Sequence[Finding]) -> Section:
    """Return the section with the claims and the verdicts on them."""
    picture = make_picture(
        "compared",
        "Reported and measured accuracies with their intervals, one row per accuracy",
        "Every accuracy that the report gives, beside the one measured; bars are 95 % intervals.",
        Panels([compared_data(findings)], draw_compared, (6.4, 5.6)),
    )
    return Section("Verdicts", (), (claims_sheet(findings),), (picture,))


def decomposition(data: StudyData, steps: Steps | None, rng: np.random.Generator) -> Section | None:
    """Return the section that takes the gain from dropout apart; None if nothing is crossed."""
    rows = decompositions_data(data, rng)
    if not rows:
        return None
    text = (
        "The report's code raised the learning rate from 0.001 to 0.01 together with dropout, so its gain from dropout "
        "has two causes. Here each is raised alone, and both together."
    )
    return Section("What the gain from dropout is made of", (text,), (decomposition_sheet(data.name, rows, steps),))


def aux_weight(data: StudyData) -> Section:
    """Return the section with figures 2 and 3."""
    pictures = (_aux_weight_picture(data, sharing=False), _aux_weight_picture(data, sharing=True))
    return Section("Accuracy against the auxiliary weight", (), (), pictures)


def _aux_weight_picture(data: StudyData, sharing: bool) -> Picture:
    info = aux_weight_data(data, sharing)
    caption = f"{info.name}. Mean ± standard deviation over the seeds of a cell."
    if info.left_out:
        caption += f" The {SERIES} series whose best cells are the best {BEST} are shown; {info.left_out} are left out."
    return make_picture(
        info.name.lower().replace(" ", ""),
        f"Test accuracy against the auxiliary weight, {info.subject}",
        caption,
        Panels([info], draw_aux_weight, (6.4, 4.6)),
    )


def boxes(data: StudyData) -> Section:
    """Return the section with figures 4 and 5."""
    pictures = (_boxes_picture(data, dropout=False), _boxes_picture(data, dropout=True))
    return Section("The best cells without and with dropout", (), (), pictures)


def _boxes_picture(data: StudyData, dropout: bool) -> Picture:
    info = boxes_data(data, dropout)
    return make_picture(
        info.name.lower().replace(" ", ""),
        f"Box plots of training and test accuracy of the best cell {info.subject}",
        f"{info.name}. The cell {info.subject} that has the best mean validation accuracy; each point is one seed.",
        Panels([info], draw_boxes, (6.4, 4.2)),
    )


def classifier(data: StudyData, rng: np.random.Generator) -> Section | None:
    """Return the section with the digit classifier; None if the study has no complete one."""
    sheet = classifier_sheet(data, rng)
    if sheet is None:
        return None
    text = "This network learns only to read the digits; its two predictions are then compared."
    return Section("Reading the digits instead", (text,), (sheet,))


def networks(data: StudyData) -> Section | None:
    """Return the section that draws the networks; None if the study does not say what they were."""
    infos = network_data(data)
    if not infos:
        return None
    picture = make_picture(
        "figure1",
        "The layers of the networks: what each reads, its weights and the shape of its output",
        "Figure 1. Drawn from the layers that the study trained; each convolution is followed by 2x2 max-pooling.",
        Panels(infos, draw_network, (10.0, 3.2)),
    )
    return Section("The networks", (), (), (picture,))
