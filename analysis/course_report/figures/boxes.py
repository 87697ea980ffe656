"""Figures 4 and 5 of the report: accuracies of the best cell over seeds, without and with dropout."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from analysis.course_report.reported import BOX_MEDIANS
from analysis.figures.style import REPORTED_GREY, STYLES
from analysis.load import StudyData
from analysis.statistics.cells import by_seed, describe_settings, summarise_cells
from analysis.statistics.selection import best_cell

METRICS = {
    "train_digit_accuracy": "training\ndigits",
    "train_accuracy": "training\ntarget",
    "test_digit_accuracy": "test\ndigits",
    "test_accuracy": "test\ntarget",
}


@dataclass(frozen=True)
class Box:
    """An accuracy in percent: one value a seed, and the report's median. No values where the study lacks them."""

    label: str
    values: tuple[float, ...]
    reported: float


@dataclass(frozen=True)
class BoxesFigure:
    """The boxes of the best cell without or with dropout; none where no cell is complete."""

    dropout: bool
    cell: str
    n: int
    boxes: tuple[Box, ...]


def boxes_data(data: StudyData, dropout: bool) -> BoxesFigure:
    """Return the accuracies of the comparator that validation chose among those without or with dropout."""
    cells = summarise_cells(data)
    best = best_cell(cells[(cells["model"] == "comparator") & ((cells["dropout"] > 0) == dropout)])
    if best is None:
        return BoxesFigure(dropout, "no complete cell", 0, ())
    boxes = []
    for (metric, label), reported in zip(METRICS.items(), BOX_MEDIANS[dropout], strict=True):
        values = 100 * by_seed(data, metric).loc[best["cell_id"]].to_numpy(float)
        known = () if np.isnan(values).any() else tuple(values.tolist())
        boxes.append(Box(label, known, 100 * reported))
    names = dict.fromkeys([*data.info.roles, "learning_rate"])
    cell = describe_settings(best, [name for name in names if name != "model"])
    return BoxesFigure(dropout, cell, best["n"], tuple(boxes))


def draw_boxes(info: BoxesFigure, ax: Axes) -> None:
    """Draw box plots (median, quartiles, whiskers to 1.5 interquartile ranges), the seeds as points."""
    ax.set_title(f"Figure {4 + info.dropout}: {('without', 'with')[info.dropout]} dropout\n{info.cell}, n = {info.n}")
    ax.title.set_fontsize(10)
    known = [(place, box) for place, box in enumerate(info.boxes) if box.values]
    colour = STYLES[0][0]
    if known:
        ax.boxplot(
            [box.values for _, box in known],
            positions=[place for place, _ in known],
            widths=0.5,
            showfliers=False,  # the points show them
            medianprops={"color": colour, "linewidth": 2},
        )
    for place, box in known:
        aside = 0.16 * np.linspace(-1, 1, len(box.values)) if len(box.values) > 1 else [0.0]
        label = "a seed" if place == known[0][0] else None
        ax.plot(place + np.asarray(aside), box.values, "o", color=colour, markersize=3.5, alpha=0.7, label=label)
    for place, box in enumerate(info.boxes):
        label = "report's median, read off by eye" if not place else None
        ax.plot(place + 0.36, box.reported, "D", color=REPORTED_GREY, markersize=6, label=label)
        if not box.values:
            ax.text(place, box.reported, "not\nrecorded", ha="center", va="center", fontsize=8)
    ax.set_xticks(range(len(info.boxes)), [box.label for box in info.boxes])
    ax.set_ylabel("accuracy, %")
    ax.grid(axis="y", linewidth=0.4, alpha=0.6)
    if info.boxes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False)
