"""The contrasts of a study as a table, with how to read it."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, direction, ends, gain_columns, in_unit, probability
from analysis.statistics.cells import describe_settings
from analysis.statistics.contrasts import Cell, EstimatedContrast
from analysis.statistics.inference import estimate_as_row
from analysis.stored import StoredMetric

EXPLORATORY = " A contrast that was named after results of its cells is exploratory: its p confirms nothing."
GROWN = (
    " If more seeds were added after a look, p is for the smallest of all looks. Only looks that are named in advance "
    "keep the chance of a false alarm at 5 %."
)
HOW_TO_READ = (
    "Detectable is the smallest difference that so many seeds find with 80 % power, by an uncorrected test at 5 %: a "
    "difference that was not found may still be as large. Equivalent within is the smallest margin for which two "
    "one-sided tests at 5 % show both sides to be equivalent: compare it with the largest difference that does not "
    "matter to you. Correlation is that of both sides over seeds: the higher it is, the more is gained by pairing."
)
KNOWN = ("name", "cells", "half_width", "detectable", "equivalent_within", "correlation", "named", "looks")


def contrasts_sheet(data: StudyData, contrasts: Sequence[EstimatedContrast]) -> Sheet:
    """List the comparisons that the grid named, with all that is known of each."""
    goal = data.info.goal
    caption = (
        f"Differences of {goal.in_words(data.reported_part)}{in_unit(goal)}, paired by seed, with 95 % t "
        f"intervals.{direction(goal)} The p values are of the paired t test: uncorrected, and corrected for the "
        "number of contrasts (Holm)."
    )
    if any(contrast.exploratory for contrast in contrasts):
        caption += EXPLORATORY
    if any(contrast.looks for contrast in contrasts):
        caption += GROWN
    columns = [
        Column("contrast", lambda row: f"{row['name']} (exploratory)" if row["exploratory"] else row["name"]),
        *gain_columns(goal),
        Column("p", lambda row: probability(row["p"]), numeric=True),
        Column("p, Holm", lambda row: probability(row["p_holm"]), numeric=True),
        Column("n", lambda row: row["looks"] or str(row["n"] or row["state"]), numeric=True),
    ]
    if any(contrast.new_data for contrast in contrasts):
        columns.insert(3, Column("for new data", partial(_ends_for_new_data, goal), numeric=True))
    rows = tuple(_row(contrast, data) for contrast in contrasts)
    notes = [_without_in_words(contrast, goal) for contrast in contrasts if contrast.without]
    return Sheet("contrasts", "Contrasts", caption, tuple(columns), rows, tuple(notes))


def precision_sheet(data: StudyData, contrasts: Sequence[EstimatedContrast]) -> Sheet:
    """Say how well each contrast is known, between which cells, and when it was named."""
    goal = data.info.goal
    columns = (
        Column("contrast", itemgetter("name")),
        Column("cells", itemgetter("cells")),
        Column("half-width", lambda row: goal.number(row["half_width"]), numeric=True),
        Column("detectable", lambda row: goal.number(row["detectable"]), numeric=True),
        Column("equivalent within", lambda row: goal.number(row["equivalent_within"]), numeric=True),
        Column("correlation", lambda row: _hundredths(row["correlation"]), numeric=True),
        Column("named", itemgetter("named")),
    )
    rows = []
    for contrast in contrasts:
        row = _row(contrast, data)
        rows.append({name: row[name] for name in KNOWN})
    caption = f"Half-widths of the 95 % t intervals and other figures{in_unit(goal)}. {HOW_TO_READ}"
    return Sheet("contrasts-precision", "How well contrasts are known", caption, columns, tuple(rows))


def _row(contrast: EstimatedContrast, data: StudyData) -> dict[str, Any]:
    found = contrast.estimate
    row: dict[str, Any] = {"name": contrast.name, "state": contrast.state, **estimate_as_row(found)}
    row["half_width"] = None if found is None else (found.high - found.low) / 2
    row["new_data_low"], row["new_data_high"] = contrast.new_data or (None, None)
    row |= {"p": contrast.p, "p_holm": contrast.p_holm, "detectable": contrast.detectable}
    row |= {"equivalent_within": contrast.equivalent_within, "correlation": contrast.correlation}
    row |= {"named": contrast.named, "exploratory": contrast.exploratory, "looks": ", ".join(map(str, contrast.looks))}
    row["collapsed_seeds"] = " ".join(map(str, contrast.collapsed))
    row |= {f"without_collapsed_{field}": value for field, value in estimate_as_row(contrast.without).items()}
    row["cells"] = describe_cells(contrast, tuple(data.info.roles))
    for side, cells in (("plus", contrast.plus), ("minus", contrast.minus)):
        row[side] = " ".join(map(itemgetter("cell_id"), cells))
    return row


def describe_cells(contrast: EstimatedContrast, names: Sequence[str]) -> str:
    """Name the cells that stood for the conditions of a contrast: what tells them apart, then what they share."""
    cells = (*contrast.plus, *contrast.minus)
    differing = [name for name in names if len({str(cell.get(name)) for cell in cells}) > 1]
    if not differing:
        return ""

    def named(side: Sequence[Cell]) -> str:
        return " + ".join(describe_settings(cell, differing) for cell in side)

    shared = describe_settings(cells[0], [name for name in names if name not in differing])
    both = f"; both with {shared}" if shared else ""
    return f"{named(contrast.plus)} minus {named(contrast.minus)}{both}"


def _ends_for_new_data(goal: StoredMetric, row: Mapping[str, Any]) -> str:
    return ends(goal, row["new_data_low"], row["new_data_high"], "+")


def _hundredths(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.2f}"


def _without_in_words(contrast: EstimatedContrast, goal: StoredMetric) -> str:
    found = contrast.without
    assert found is not None
    seeds = ", ".join(map(str, contrast.collapsed))
    interval = ends(goal, found.low, found.high, "+")
    reach = f" ({interval})" if interval else ""
    return (
        f"{contrast.name}: without the collapsed seed {seeds} it is {goal.format_difference(found.mean)}{reach}, "
        f"n = {found.n}."
    )
