"""Selection and confirmation side by side: the chosen cells, and the same with fresh seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.load import StudyData
from analysis.output.sheet import NONE, Column, Sheet, direction, ends
from analysis.statistics.cells import by_seed, describe_settings, limits_of, summarise_cells
from analysis.statistics.contrasts import contrasts_data
from analysis.statistics.inference import Estimate, Measure, compare, estimate, estimate_as_row
from analysis.statistics.selection import fixed_contrasts
from analysis.stored import PART_IN_WORDS, StoredMetric

DIFFERENCE = "difference"  # what rows of contrasts are about


@dataclass(frozen=True)
class Confirmed:
    """The same value in a study and in its confirmation, as stored.

    ``metric`` is the objective's column of a part, or DIFFERENCE. ``difference``, ``low``, ``high``
    are confirmation minus selection and its 95 % Welch interval; ``confirmed`` and they are None before it has values.
    """

    what: str
    metric: str
    selected: Estimate
    confirmed: Estimate | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


def confirmed_cells(data: StudyData, confirmation: StudyData) -> tuple[Confirmed, ...]:
    """Compare the mean objective, on validation and test, of every cell that the confirmation has."""
    cells = summarise_cells(data)
    again = summarise_cells(confirmation).set_index("cell_id")["state"] == "complete"
    chosen = cells[(cells["state"] == "complete") & cells["cell_id"].isin(again.index)]
    rows = []
    metrics = [data.selection]
    # Validation first: it gets worse if the choice was lucky, while the test part should not.
    if data.selection != data.reported and confirmation.has_test:
        metrics.append(data.reported)
    for metric in metrics:
        first = by_seed(data, metric)
        second = by_seed(confirmation, metric)
        for cell in chosen.to_dict("records"):
            ident = cell["cell_id"]
            selected = estimate(first.loc[ident].to_numpy(float), limits_of(data))
            fresh = estimate(second.loc[ident].to_numpy(float), limits_of(data)) if again[ident] else None
            rows.append(_confirmed(describe_settings(cell, data.info.roles), metric, selected, fresh))
    return tuple(rows)


def confirmed_contrasts(data: StudyData, confirmation: StudyData) -> tuple[Confirmed, ...]:
    """Compare the study's contrasts between the same cells."""
    # The confirmation's contrasts name cells by id, so the same cells are compared in both.
    first = {contrast.name: contrast for contrast in contrasts_data(data)}
    second = {contrast.name: contrast for contrast in contrasts_data(confirmation)}
    rows = []
    for contrast in fixed_contrasts(data):
        name = contrast["name"]
        selected = first[name].estimate
        assert selected is not None
        fresh = second[name].estimate if name in second else None
        rows.append(_confirmed(name, DIFFERENCE, selected, fresh))
    return tuple(rows)


def _confirmed(what: str, metric: str, selected: Estimate, confirmed: Estimate | None) -> Confirmed:
    if confirmed is None or min(selected.n, confirmed.n) < 2:
        return Confirmed(what, metric, selected, confirmed)
    # Fresh seeds are other seeds, so the means are independent and there is nothing to pair.
    second = Measure.of(confirmed.mean, confirmed.std, confirmed.n)
    first = Measure.of(selected.mean, selected.std, selected.n)
    return Confirmed(what, metric, selected, confirmed, *compare(second, first))


def confirmation_sheet(data: StudyData, confirmation: StudyData) -> Sheet:
    """Put contrasts and cells into a table."""
    contrasts = confirmed_contrasts(data, confirmation)
    rows = tuple(map(_values, (*contrasts, *confirmed_cells(data, confirmation))))
    goal = data.info.goal
    caption = (
        f"The cells that selection chose, in the study {data.name} and in its confirmation with fresh seeds, with 95 % "
        f"t intervals. The last column is confirmation minus selection.{direction(goal)}"
    )
    words = {goal.column(part): PART_IN_WORDS[part] for part in ("val", "test")}
    words[DIFFERENCE] = f"{PART_IN_WORDS[data.reported_part]}, paired"
    columns = (
        Column("cell or contrast", lambda row: row["what"]),
        Column(f"{goal.label}, {goal.unit}".removesuffix(", "), lambda row: words[row["metric"]]),
        _side_column(goal, "selection", "selected"),
        _side_column(goal, "confirmation", "confirmed"),
        Column("difference", lambda row: _estimate_text(goal, row, ("difference", "low", "high"), "+"), numeric=True),
    )
    return Sheet("confirmation", "Selection and confirmation", caption, columns, rows)


def _values(row: Confirmed) -> dict[str, Any]:
    values: dict[str, Any] = {"what": row.what, "metric": row.metric}
    for side, found in (("selected", row.selected), ("confirmed", row.confirmed)):
        for field, value in estimate_as_row(found).items():
            values[f"{side}_{field}"] = value
    return values | {"difference": row.difference, "low": row.low, "high": row.high}


def _side_column(goal: StoredMetric, heading: str, side: str) -> Column:
    def text(row: Mapping[str, Any]) -> str:
        sign = "+" if row["metric"] == DIFFERENCE else ""
        found = _estimate_text(goal, row, (f"{side}_mean", f"{side}_low", f"{side}_high"), sign)
        return found and f"{found}, n = {row[f'{side}_n']}"

    return Column(heading, text, numeric=True)


def _estimate_text(goal: StoredMetric, row: Mapping[str, Any], names: tuple[str, str, str], sign: str) -> str:
    """Write a mean and the ends of its interval; nothing without a mean."""
    mean, low, high = map(row.__getitem__, names)
    return goal.number(mean, sign) and f"{goal.number(mean, sign)} ({ends(goal, low, high, sign) or NONE})"
