"""Which cell stands for several: the complete one with the highest mean validation accuracy."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.load import StudyData
from analysis.statistics.cells import summarise_cells


def matching(cells: pd.DataFrame, condition: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of ``summarise_cells`` that have all settings of the condition."""
    for name, value in condition.items():
        cells = cells[cells[name] == value]
    return cells


def best_cell(cells: pd.DataFrame) -> dict[str, Any] | None:
    """Return the chosen one of some rows of ``summarise_cells``, None where none is complete.

    Test accuracy has no part in it; of equals, the smaller auxiliary weight is chosen, or the
    first of those without.
    """
    complete = cells[cells["state"] == "complete"]
    if complete.empty:
        return None
    # Rounded, since the same accuracies in another order of seeds may differ in the last bit of their mean.
    order = complete.assign(rounded=-complete["val_accuracy_mean"].round(12)).sort_values(
        ["rounded", *({"aux_weight"} & set(complete))], kind="stable"
    )
    return {str(name): value for name, value in order.drop(columns="rounded").iloc[0].to_dict().items()}


def chosen_cells(data: StudyData) -> list[str]:
    """Return the ids of the cells that a confirmation trains again, in the order of study.json.

    They are the best of each stratum (of the cells with the same scientific factors), and those that the study's
    contrasts compare.
    """
    cells = summarise_cells(data)
    scientific = [name for name, role in data.info.roles.items() if role == "scientific"]
    strata = [stratum for _, stratum in cells.groupby(scientific)] if scientific else [cells]
    winners = {best["cell_id"] for best in map(best_cell, strata) if best is not None}
    for contrast in fixed_contrasts(data):
        winners |= {condition["cell_id"] for condition in (*contrast["plus"], *contrast["minus"])}
    return [cell_id for cell_id in cells["cell_id"] if cell_id in winners]


def fixed_contrasts(data: StudyData) -> list[dict[str, Any]]:
    """Return the study's contrasts with each condition replaced by the id of the cell that it stands for.

    A contrast for which a cell is wanting is left out.
    """
    cells = summarise_cells(data)
    fixed = []
    for contrast in data.info.contrasts:
        sides = {side: [best_cell(matching(cells, c)) for c in contrast[side]] for side in ("plus", "minus")}
        if all(cell is not None for side in sides.values() for cell in side):
            ids = {side: [{"cell_id": cell["cell_id"]} for cell in found if cell] for side, found in sides.items()}
            fixed.append({"name": contrast["name"], **ids})
    return fixed
