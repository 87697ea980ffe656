"""Which cell stands for several: the complete one with the best mean of the objective on validation."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.load import StudyData
from analysis.statistics.cells import strata_of, summarise_cells

# Means that differ by a smaller part are equal: another order of seeds may change the last bit of a mean.
SMALLEST_LEAD = 1e-12


def matching(cells: pd.DataFrame, condition: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of ``summarise_cells`` that have all settings of the condition."""
    for name, value in condition.items():
        same = cells[name] == value if value is not None else cells[name].map(lambda found: found is None)
        cells = cells[same]
    return cells


def best_cell(cells: pd.DataFrame) -> dict[str, Any] | None:
    """Return the chosen one of some rows of ``summarise_cells``, None if none is complete.

    It has the best mean of the objective on validation; the test part has no say in it. Of equally
    good cells, it has the smaller value of the first tuned factor, then of the second, and so
    on, in the grid's order; if no tuned number tells them apart, study.json lists it first.
    """
    complete = cells[cells["state"] == "complete"]
    if complete.empty:
        return None
    most = complete["merit"].max()
    equals = complete[complete["merit"] >= most - SMALLEST_LEAD * abs(most)]
    best = equals.loc[equals["tie_order"].idxmin()]
    return {str(name): value for name, value in best.to_dict().items()}


def chosen_cells(data: StudyData) -> list[str]:
    """Return the ids of the cells that a confirmation trains again, in the order of study.json.

    They are the best cell of each stratum, and those that the study's contrasts compare.
    """
    cells = summarise_cells(data)
    strata = [stratum for _, stratum in cells.groupby(strata_of(cells, data.scientific))]
    chosen = {best["cell_id"] for best in map(best_cell, strata) if best is not None}
    for contrast in fixed_contrasts(data):
        for condition in (*contrast["plus"], *contrast["minus"]):
            chosen.add(condition["cell_id"])
    return [cell_id for cell_id in cells["cell_id"] if cell_id in chosen]


def fixed_contrasts(data: StudyData) -> list[dict[str, Any]]:
    """Return the study's contrasts with the id of its cell for each condition, without those that lack a cell."""
    cells = summarise_cells(data)
    fixed = []
    for contrast in data.info.contrasts:
        sides = {side: _cells_of(contrast[side], cells) for side in ("plus", "minus")}
        if None not in sides.values():
            fixed.append({"name": contrast["name"], **sides})
    return fixed


def _cells_of(conditions: Sequence[Mapping[str, Any]], cells: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Return a condition on the id of the best cell for each condition, None if one has no complete cell."""
    found = []
    for condition in conditions:
        best = best_cell(matching(cells, condition))
        if best is None:
            return None
        found.append({"cell_id": best["cell_id"]})
    return found
