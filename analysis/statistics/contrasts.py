"""The comparisons of cells that the grid named before the run: estimates and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from operator import itemgetter
from typing import Any

import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, direction, gain_columns, in_unit, probability
from analysis.statistics.cells import by_seed, describe_settings, describe_states, summarise_cells
from analysis.statistics.inference import Estimate, estimate, estimate_as_row, holm, paired_p
from analysis.statistics.selection import best_cell, matching

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class EstimatedContrast:
    """A contrast of the grid, estimated: differences of the objective by seed, as stored.

    ``plus`` and ``minus`` are the cells that its conditions stood for. ``state`` is
    ``complete``, or says why there is no estimate. ``p`` is of the two-sided paired t test,
    NaN for one seed; ``p_holm`` is corrected for the number of the study's complete contrasts.
    """

    name: str
    plus: tuple[Cell, ...]
    minus: tuple[Cell, ...]
    state: str
    estimate: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None


def contrasts_data(data: StudyData) -> tuple[EstimatedContrast, ...]:
    """Estimate the study's contrasts."""
    cells = summarise_cells(data)
    values = by_seed(data, data.reported)
    found = [_estimated(contrast, cells, values) for contrast in data.info.contrasts]

    # A contrast without a p value is no test, so it does not count in the correction.
    tested = {place: c.p for place, c in enumerate(found) if c.p is not None and not isnan(c.p)}
    for place, p_holm in zip(tested, holm(list(tested.values())), strict=True):
        found[place] = replace(found[place], p_holm=p_holm)
    return tuple(found)


def _estimated(contrast: Mapping[str, Any], cells: pd.DataFrame, values: pd.DataFrame) -> EstimatedContrast:
    name = contrast["name"]
    sides: dict[str, tuple[Cell, ...]] = {}
    for side in ("plus", "minus"):
        chosen = []
        for condition in contrast[side]:
            candidates = matching(cells, condition)
            # A condition that several cells match stands for the one that validation chose.
            cell = best_cell(candidates)
            if cell is None:
                settings = describe_settings(condition, condition)
                return EstimatedContrast(name, (), (), f"{settings}: {describe_states(candidates)}")
            chosen.append(cell)
        sides[side] = tuple(chosen)

    # A seed trained every cell on the same data, so differences are taken seed by seed.
    differences = _sum_by_seed(sides["plus"], values) - _sum_by_seed(sides["minus"], values)
    found = estimate(differences)
    return EstimatedContrast(name, sides["plus"], sides["minus"], "complete", found, paired_p(differences))


def _sum_by_seed(cells: Sequence[Cell], values: pd.DataFrame) -> Any:
    """Return the sum of the cells' values ``[seeds]``."""
    return sum(values.loc[cell["cell_id"]].to_numpy(float) for cell in cells)


def contrasts_sheet(data: StudyData, contrasts: Sequence[EstimatedContrast]) -> Sheet:
    """List the comparisons that the grid named in advance."""
    rows = []
    for contrast in contrasts:
        row: dict[str, Any] = {"name": contrast.name, "state": contrast.state}
        row |= estimate_as_row(contrast.estimate)
        row |= {"p": contrast.p, "p_holm": contrast.p_holm}
        row["plus"] = " ".join(map(itemgetter("cell_id"), contrast.plus))
        row["minus"] = " ".join(map(itemgetter("cell_id"), contrast.minus))
        rows.append(row)
    goal = data.info.goal
    caption = (
        f"Differences of {goal.in_words(data.reported_part)}{in_unit(goal)}, paired by seed, with 95 % t "
        f"intervals.{direction(goal)} The p values are of the paired t test: uncorrected, and corrected for the "
        "number of contrasts (Holm)."
    )
    columns = (
        Column("contrast", lambda row: row["name"]),
        *gain_columns(goal),
        Column("p", lambda row: probability(row["p"]), numeric=True),
        Column("p, Holm", lambda row: probability(row["p_holm"]), numeric=True),
        Column("n", lambda row: str(row["n"] or row["state"]), numeric=True),
    )
    return Sheet("contrasts", "Contrasts named in advance", caption, columns, tuple(rows))
