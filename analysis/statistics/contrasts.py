"""The comparisons of cells that the grid named: estimates by seed, and what may be said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isnan, nan, sqrt
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.statistics.cells import by_seed, describe_settings, describe_states, limits_of, summarise_cells
from analysis.statistics.collapse import collapsed_seeds
from analysis.statistics.inference import Estimate, Values, estimate, holm, paired_p
from analysis.statistics.looks import sequential_p
from analysis.statistics.power import detectable
from analysis.statistics.selection import best_cell, matching
from analysis.statistics.target import new_data_ends

Cell = Mapping[str, Any]
SIDES = ("plus", "minus")


@dataclass(frozen=True)
class EstimatedContrast:
    """A contrast of the grid, estimated: differences of the objective by seed, as stored.

    ``plus`` and ``minus`` are the cells that its conditions stood for, and ``sums`` the sums of their values,
    ``[2, n]``, by seed. ``state`` is ``complete``, or says why there is no estimate. ``p`` is of the two-sided
    paired t test, NaN without a spread. If further seeds were added after a look, ``looks`` has the numbers
    of seeds that there were, and ``p`` is the sequential one of these looks. ``p_holm`` is corrected for the number
    of complete contrasts that were named before any of their results, or of an ``exploratory`` one, of all.
    ``collapsed`` are the seeds of which a cell collapsed, and ``without`` is the estimate of the others.
    """

    name: str
    plus: tuple[Cell, ...]
    minus: tuple[Cell, ...]
    state: str
    estimate: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None
    named: str = "not recorded"
    exploratory: bool = False
    sums: Values | None = field(default=None, compare=False)
    looks: tuple[int, ...] = ()
    new_data: tuple[float, float] | None = None
    collapsed: tuple[int, ...] = ()
    without: Estimate | None = None

    @property
    def correlation(self) -> float:
        """The correlation over seeds between both sides: the larger, the more is gained by pairing."""
        if self.sums is None or self.sums.shape[1] < 2 or not self.sums.std(axis=1).all():
            return nan
        return float(stats.pearsonr(*self.sums).statistic)

    @property
    def detectable(self) -> float:
        """The smallest difference that so many seeds find with 80 % power at 5 %, uncorrected."""
        found = self.estimate
        return nan if found is None or found.n < 2 or not found.std else detectable(found.std, found.n)

    @property
    def equivalent_within(self) -> float:
        """The smallest margin within which both sides are equivalent by two one-sided tests at 5 %.

        It is the farther end of the 90 % interval (Schuirmann, Journal of Pharmacokinetics and
        Biopharmaceutics, 1987).
        """
        found = self.estimate
        if found is None or found.n < 2 or not found.std:
            return nan
        return abs(found.mean) + float(stats.t.ppf(0.95, found.n - 1)) * found.std / sqrt(found.n)


def contrasts_data(data: StudyData) -> tuple[EstimatedContrast, ...]:
    """Estimate the study's contrasts: those that were named before their results, then the exploratory ones."""
    found = [_estimated(contrast, data) for contrast in data.info.contrasts]
    found.sort(key=attrgetter("exploratory"))
    # What was named after its results does not make the p values of the others larger, so these come second.
    _correct(found, len(found))
    _correct(found, sum(not contrast.exploratory for contrast in found))
    return tuple(found)


def _correct(found: list[EstimatedContrast], first: int) -> None:
    """Correct the p values of the ``first`` contrasts for their number."""
    # A contrast without a p value is no test, so it does not count in the correction.
    tested = {place: c.p for place, c in enumerate(found[:first]) if c.p is not None and not isnan(c.p)}
    for place, p_holm in zip(tested, holm(list(tested.values())), strict=True):
        found[place] = replace(found[place], p_holm=p_holm)


def _estimated(contrast: Mapping[str, Any], data: StudyData) -> EstimatedContrast:
    cells = summarise_cells(data)
    named, exploratory = _naming(contrast)
    sides: dict[str, tuple[Cell, ...]] = {}
    for side in SIDES:
        chosen = []
        for condition in contrast[side]:
            candidates = matching(cells, condition)
            # A condition that several cells match stands for the one that validation chose.
            cell = best_cell(candidates)
            if cell is None:
                state = f"{describe_settings(condition, condition)}: {describe_states(candidates)}"
                return EstimatedContrast(contrast["name"], (), (), state, named=named, exploratory=exploratory)
            chosen.append(cell)
        sides[side] = tuple(chosen)
    found = EstimatedContrast(contrast["name"], sides["plus"], sides["minus"], "complete")
    found = replace(found, named=named, exploratory=exploratory)
    return _with_numbers(found, contrast.get("seen", ()), data)


def _naming(contrast: Mapping[str, Any]) -> tuple[str, bool]:
    """Say when a contrast was named, and whether results of its cells were there by then."""
    stamp = contrast.get("first_named")
    if stamp is None:
        return "not recorded", False
    if trainings := stamp["trainings"]:
        return f"after {trainings} trainings", True
    return "before its results", False


def _with_numbers(found: EstimatedContrast, seen: Sequence[int], data: StudyData) -> EstimatedContrast:
    values = by_seed(data, data.reported)
    sums = np.array([_sum_by_seed(cells, values) for cells in (found.plus, found.minus)])
    # A seed trained every cell on the same data, so differences are taken seed by seed.
    differences = sums[0] - sums[1]
    reach = len(found.plus) if limits_of(data)[1] == 1 else inf
    estimated = estimate(differences, (-reach, reach))
    planned = (data.info.replicate or {}).get("looks")
    n = len(differences)
    p, looks = _tested(differences, planned or (*[look for look in seen if 1 < look < n], n))
    collapsed = collapsed_seeds(data).loc[[cell["cell_id"] for cell in (*found.plus, *found.minus)]].any().to_numpy()
    without = None
    if collapsed.any() and not collapsed.all():
        without = estimate(differences[~collapsed], (-reach, reach))
    return replace(
        found,
        sums=sums,
        estimate=estimated,
        p=p,
        looks=looks,
        new_data=new_data_ends(data.info, estimated),
        collapsed=tuple(np.array(data.info.seeds)[collapsed].tolist()),
        without=without,
    )


def _tested(differences: Values, looks: Sequence[int]) -> tuple[float, tuple[int, ...]]:
    """Return the p value of differences ``[n]`` that are looked at several times, and the looks until now."""
    reached = tuple(look for look in looks if look <= len(differences))
    if len(looks) < 2 or not reached:
        return paired_p(differences), ()
    own = [paired_p(differences[:look]) for look in reached]
    return sequential_p(tuple(looks), min([p for p in own if not isnan(p)], default=1.0)), reached


def _sum_by_seed(cells: Sequence[Cell], values: pd.DataFrame) -> Any:
    """Return the sum of the cells' values ``[seeds]``."""
    return sum(values.loc[cell["cell_id"]].to_numpy(float) for cell in cells)
