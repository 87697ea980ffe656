"""Learning curves: mean validation accuracy by epoch, a line a cell, an axes a stratum."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from analysis.load import StudyData
from analysis.statistics.cells import describe_settings, summarise_cells

LINES = ("-", "--", "-.", ":")
PANELS, CURVES = 8, 8  # of a study of more than PANELS x CURVES cells, which no reader could tell apart
ONLY = "the cell"  # of a stratum, where no factor is tuned
WIDE = 30  # characters of a label, of which two do not fit beside each other
RAMP = matplotlib.colormaps["viridis"]  # rises in lightness, so that its order is seen in grey too


@dataclass(frozen=True)
class Curve:
    """A cell over its seeds, in percent by epoch: mean, and the quartiles of the seeds.

    A seed that has ended keeps its last value. ``pruned`` tells that the cell was ended early.
    """

    label: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    pruned: bool


@dataclass(frozen=True)
class CurvesFigure:
    """The curves of the cells with the same scientific factors, by rising tuned factors; n is the number of seeds.

    All axes of a study go from ``bottom`` to ``top``, in percent, so that strata compare.
    """

    title: str
    n: int
    curves: tuple[Curve, ...]
    bottom: float
    top: float


def shown_cells(data: StudyData) -> Sequence[str]:
    """Return the ids of the cells whose curves are drawn; the epochs of no others are needed.

    They are all, or of a search or more than PANELS x CURVES, the CURVES best of each of the PANELS best strata: by
    mean validation accuracy, a stratum by its best cell. What is not complete comes last.
    """
    cells = summarise_cells(data)
    if len(cells) <= PANELS * CURVES and data.info.search is None:
        return cells["cell_id"].tolist()
    ranked = cells.sort_values("val_accuracy_mean", ascending=False, kind="stable")
    scientific = [name for name, role in data.info.roles.items() if role == "scientific"]
    stratum = ranked.groupby(scientific or "n_planned", sort=False).ngroup()  # n_planned is the same for all
    shown = (stratum < PANELS) & (stratum.groupby(stratum).cumcount() < CURVES)
    return ranked.loc[shown, "cell_id"].tolist()


def curves_data(data: StudyData) -> tuple[CurvesFigure, ...]:
    """Return a figure a stratum, of its shown cells with validation accuracies by epoch."""
    if "val_accuracy" not in data.epochs:
        return ()
    cells = summarise_cells(data)
    cells = cells[cells["cell_id"].isin(shown_cells(data))]
    roles = data.info.roles
    scientific = [name for name, role in roles.items() if role == "scientific"]
    tuned = [name for name, role in roles.items() if role == "tuned"]
    epochs = data.epochs[data.epochs["seed"].isin(data.info.seeds) & data.epochs["cell_id"].isin(cells["cell_id"])]
    by_epoch = epochs.pivot_table(index="epoch", columns=["cell_id", "seed"], values="val_accuracy")
    known = set(by_epoch.columns.get_level_values("cell_id"))
    strata: dict[str, list[Curve]] = {}
    for cell in cells.sort_values(tuned, kind="stable").to_dict("records") if tuned else cells.to_dict("records"):
        if cell["cell_id"] in known:
            title = describe_settings(cell, scientific) or "all cells"
            strata.setdefault(title, [])
            values = 100 * by_epoch[cell["cell_id"]].dropna(how="all").ffill()
            low, high = values.quantile(0.25, axis=1), values.quantile(0.75, axis=1)
            strata[title].append(
                Curve(
                    describe_settings(cell, tuned) or ONLY,
                    tuple(values.index.tolist()),
                    tuple(values.mean(axis=1).tolist()),
                    tuple(low.tolist()),
                    tuple(high.tolist()),
                    cell["state"] == "pruned",
                )
            )
    # Without the first epochs, which are near chance and would flatten all the rest.
    ends = [end for curves in strata.values() for curve in curves for end in np.quantile(curve.mean, (0.1, 1.0))]
    n, bottom, top = len(data.info.seeds), min(ends, default=0) - 3, min(100.5, max(ends, default=0) + 3)
    return tuple(CurvesFigure(title, n, tuple(curves), bottom, top) for title, curves in strata.items())


def draw_curves(info: CurvesFigure, ax: Axes) -> None:
    """Draw a line a cell with the band of its quartiles, and a cross where a cell was pruned."""
    for index, curve in enumerate(info.curves):
        colour = RAMP(0.9 * index / max(1, len(info.curves) - 1))
        label = f"{curve.label}, pruned" if curve.pruned else curve.label
        ax.plot(curve.epochs, curve.mean, LINES[index % len(LINES)], color=colour, linewidth=1.4, label=label)
        ax.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0)
        if curve.pruned:
            ax.plot(curve.epochs[-1], curve.mean[-1], "x", color=colour, markersize=8, markeredgewidth=2)
    ax.set_title(f"{info.title}\nn = {info.n}", fontsize=9)
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation accuracy, %")
    ax.set_ylim(info.bottom, info.top)
    ax.grid(linewidth=0.4, alpha=0.6)
    if all(curve.label == ONLY and not curve.pruned for curve in info.curves):
        return  # the title says which cell it is
    columns = 1 if any(len(curve.label) > WIDE for curve in info.curves) else 2
    ax.legend(fontsize=7, frameon=False, ncols=columns, loc="lower right")
