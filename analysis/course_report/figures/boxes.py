"""Figures 4 and 5 of the course report: accuracies of the best cell over seeds, without and with dropout."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from analysis.course_report.reported import BOX_MEDIANS
from analysis.figures.style import GREY, GRID, LEGEND_BELOW, LEGEND_TEXT, STYLES
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.statistics.cells import by_seed, describe_settings, summarise_cells
from analysis.statistics.selection import best_cell

COLOUR = STYLES[0].colour
# By metric, in the order of BOX_MEDIANS.
LABELS = {
    "train_digit_accuracy": "training\ndigits",
    "train_accuracy": "training\ntarget",
    "test_digit_accuracy": "test\ndigits",
    "test_accuracy": "test\ntarget",
}


@dataclass(frozen=True)
class Box:
    """An accuracy in percent: one value per seed, and the report's median. No values if the study lacks them."""

    label: str
    values: tuple[float, ...]
    reported: float


@dataclass(frozen=True)
class BoxesFigure:
    """The boxes of the best cell without or with dropout; no boxes if no cell is complete."""

    dropout: bool
    cell: str
    n: int
    boxes: tuple[Box, ...]

    @property
    def number(self) -> int:
        """The figure's number in the report."""
        return 5 if self.dropout else 4

    @property
    def subject(self) -> str:
        """Among which cells this one was chosen."""
        return "with dropout" if self.dropout else "without dropout"


def boxes_data(data: StudyData, dropout: bool) -> BoxesFigure:
    """Return the accuracies of the comparator that validation chose among those without or with dropout."""
    cells = summarise_cells(data)
    best = best_cell(cells[(cells["model"] == "comparator") & ((cells["dropout"] > 0) == dropout)])
    if best is None:
        return BoxesFigure(dropout, "no complete cell", 0, ())
    boxes = []
    for (metric, label), reported in zip(LABELS.items(), BOX_MEDIANS[dropout], strict=True):
        values = 100 * by_seed(data, metric).loc[best["cell_id"]].to_numpy(float)
        # Older studies did not record all four; a box of some seeds would mislead.
        known = () if np.isnan(values).any() else tuple(values.tolist())
        boxes.append(Box(label, known, 100 * reported))
    names = dict.fromkeys([*data.info.roles, "learning_rate"])
    cell = describe_settings(best, [name for name in names if name != "model"])
    return BoxesFigure(dropout, cell, best["n"], tuple(boxes))


def boxes_picture(data: StudyData, dropout: bool) -> Picture:
    """Return the picture of figure 4 or 5."""
    info = boxes_data(data, dropout)
    chosen = f"The cell {info.subject} that has the best mean validation accuracy"
    return make_picture(
        f"figure{info.number}",
        f"Box plots of training and test accuracy of the best cell {info.subject}",
        f"Figure {info.number}. {chosen}; each point is one seed.",
        Panels([info], draw_boxes, (6.4, 4.2)),
    )


def draw_boxes(info: BoxesFigure, ax: Axes) -> None:
    """Draw box plots (median, quartiles, whiskers to 1.5 interquartile ranges), with the seeds as points."""
    ax.set_title(f"Figure {info.number}: {info.subject}\n{info.cell}, n = {info.n}")
    ax.title.set_fontsize(10)
    known = [(place, box) for place, box in enumerate(info.boxes) if box.values]
    if known:
        ax.boxplot(
            [box.values for _, box in known],
            positions=[place for place, _ in known],
            widths=0.5,
            showfliers=False,  # the points show them
            medianprops={"color": COLOUR, "linewidth": 2},
        )
    # The first of each kind carries its label, so that the legend names it once.
    for place, box in known:
        label = "a seed" if place == known[0][0] else None
        _draw_seeds(box, place, label, ax)
    for place, box in enumerate(info.boxes):
        label = "report's median, read off by eye" if place == 0 else None
        ax.plot(place + 0.36, box.reported, "D", color=GREY, markersize=6, label=label)
        if not box.values:
            ax.text(place, box.reported, "not\nrecorded", ha="center", va="center", fontsize=8)
    ax.set_xticks(range(len(info.boxes)), [box.label for box in info.boxes])
    ax.set_ylabel("accuracy, %")
    ax.grid(axis="y", **GRID)
    if info.boxes:
        ax.legend(**LEGEND_BELOW, **LEGEND_TEXT)


def _draw_seeds(box: Box, place: int, label: str | None, ax: Axes) -> None:
    """Draw the seeds beside each other, always in the same order, so that points do not hide points."""
    count = len(box.values)
    aside = 0.16 * np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
    ax.plot(place + aside, box.values, "o", color=COLOUR, markersize=3.5, alpha=0.7, label=label)
