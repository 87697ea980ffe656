"""Figures 4 and 5 of the course report: accuracies of the best cell over seeds."""

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
MEDIAN = {"color": COLOUR, "linewidth": 2}
# By dropout: the figure's number in the report, and among which cells its cell was chosen.
FIGURES = {False: (4, "without dropout"), True: (5, "with dropout")}
# By metric, in the order of BOX_MEDIANS.
LABELS = {
    "train_digit_accuracy": "training\ndigits",
    "train_accuracy": "training\ntarget",
    "test_digit_accuracy": "test\ndigits",
    "test_accuracy": "test\ntarget",
}


@dataclass(frozen=True)
class Box:
    """An accuracy in percent: a value per seed, if recorded, and the report's median."""

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


def boxes_data(data: StudyData, dropout: bool) -> BoxesFigure:
    """Return the accuracies of the best comparator without or with dropout, by validation."""
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
    number, among = FIGURES[dropout]
    alt = f"Box plots of training and test accuracy of the best cell {among}"
    caption = f"Figure {number}. The cell {among} with the best mean validation accuracy; each point is one seed."
    panels = Panels([boxes_data(data, dropout)], draw_boxes, (6.4, 4.2))
    return make_picture(f"figure{number}", alt, caption, panels)


def draw_boxes(info: BoxesFigure, ax: Axes) -> None:
    """Draw box plots, whiskers to 1.5 interquartile ranges, with the seeds as points."""
    number, among = FIGURES[info.dropout]
    ax.set_title(f"Figure {number}: {among}\n{info.cell}, n = {info.n}")
    ax.title.set_fontsize(10)
    known = [(place, box) for place, box in enumerate(info.boxes) if box.values]
    # The first of each kind carries its label, so that the legend names it once.
    for place, box in known:
        ax.boxplot([box.values], positions=[place], widths=0.5, showfliers=False, medianprops=MEDIAN)
        # The points of the seeds show the outliers too.
        label = "a seed" if place == known[0][0] else None
        aside = 0.16 * np.linspace(-1, 1, len(box.values)) if len(box.values) > 1 else np.zeros(1)
        ax.plot(place + aside, box.values, "o", color=COLOUR, markersize=3.5, alpha=0.7, label=label)
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
