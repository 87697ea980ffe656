"""The comparison of two studies in words and in tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

import pandas as pd

from analysis.comparison.difference import CellDifference, Difference
from analysis.output.sheet import Column, Sheet, direction, ends, in_unit, probability
from analysis.statistics.cells import describe_settings, format_setting
from analysis.stored import PART_IN_WORDS, StoredMetric

LEVEL = 0.05
SheetRow = Mapping[str, Any]


def summarise_difference(found: Difference) -> list[str]:
    """Say in words what the comparison shows."""
    lines = [f"A is {found.a}, B is {found.b}; every difference is B minus A."]
    if found.protocol:
        lines.append(_protocol_in_words(found.protocol))
    for what in ("code id of trials", "data sha256 of trials"):
        if what in found.provenance:
            one, other = found.provenance[what]
            lines.append(f"The trials were made by different code or data: {what} is {one} in A, {other} in B.")
    return [*lines, *_counts_in_words(found)]


def _protocol_in_words(protocol: Mapping[str, tuple[Any, Any]]) -> str:
    parts = []
    for name, (one, other) in protocol.items():
        parts.append(f"{name.replace('_', ' ')} {_setting(one)} in A, {_setting(other)} in B")
    listed = "; ".join(parts)
    return f"The studies differ in settings that are not factors: {listed}. Cells match by all other settings."


def _setting(value: Any) -> str:
    return "unknown" if value is None else format_setting(value)


def _counts_in_words(found: Difference) -> Iterator[str]:
    cells = found.cells
    table = pd.DataFrame(map(vars, cells))
    only_a, only_b = table[["cell_id_b", "cell_id_a"]].isna().sum()
    yield f"Cells: {len(cells) - only_a - only_b} in both, {only_a} only in A, {only_b} only in B."
    both, same, only_a, only_b = table[["both", "identical", "only_a", "only_b"]].sum()
    yield f"Finished trials: {both} in both, {only_a} only in A, {only_b} only in B."
    if both:
        share = "All" if same == both else str(same or "None")
        yield f"{share} of the {both} trials in both have the same bits, in their result and in every epoch."

    # Studies with the same bits throughout do not differ: the tests would say nothing more.
    part = found.parts[0]
    changes = [cell.changes[found.objective.column(part)] for cell in cells]
    tested = [change.p_holm for change in changes if change and change.p_holm is not None]
    if tested and (same < both or not both):
        low = sum(p < LEVEL for p in tested)
        what = found.objective.in_words(part).capitalize()
        yield f"{what} differs in {low} of {len(tested)} cells (p < {LEVEL} after Holm's correction)."


def difference_sheet(found: Difference) -> Sheet:
    """Put the comparison into a table, one row per cell that both studies have."""
    cells = [cell for cell in found.cells if cell.cell_id_a and cell.cell_id_b]
    varied = _varied(cells)
    goal = found.objective
    reported = goal.column(found.parts[0])
    caption = (
        f"Differences of {goal.label}{in_unit(goal)}, with 95 % t intervals.{direction(goal)} If both studies finished "
        "two or more of the same seeds, the intervals are of the differences by seed, otherwise of the difference "
        "between the means of all seeds (Welch). p is of the same t test of "
        f"{goal.in_words(found.parts[0])}, corrected for the number of cells (Holm)."
    )
    columns = (
        Column("cell", lambda row: describe_settings(row["settings"], varied)),
        Column("A", itemgetter("state_a")),
        Column("B", itemgetter("state_b")),
        Column("pairs", partial(_pairs, reported), numeric=True),
        _change_column(goal, found.parts[0]),
        Column("p, Holm", partial(_p_holm, reported), numeric=True),
        *(_change_column(goal, part) for part in found.parts[1:]),
        Column("epochs", _epochs, numeric=True),
    )
    return Sheet("difference", "B minus A", caption, columns, tuple(map(asdict, cells)))


def _varied(cells: Sequence[CellDifference]) -> list[str]:
    """Name the factors that tell the cells apart, or all factors if there is only one cell."""
    # Factors with the same value everywhere would only make the column wider.
    table = pd.DataFrame(map(attrgetter("settings"), cells))
    varied = [str(name) for name in table if table[name].nunique(dropna=False) > 1]
    return varied or list(map(str, table))


def _pairs(metric: str, row: SheetRow) -> str:
    change = row["changes"][metric]
    if change is None:
        return ""
    if not change["pairs"]:
        return "unpaired"
    same = ", same bits" if row["identical"] and row["identical"] == row["both"] else ""
    return f"{change['pairs']}{same}"


def _p_holm(metric: str, row: SheetRow) -> str:
    change = row["changes"][metric]
    return probability(None if change is None else change["p_holm"])


def _change_column(goal: StoredMetric, part: str) -> Column:
    """Return the mean change of the objective on a part and its interval."""

    def text(row: SheetRow) -> str:
        change = row["changes"][goal.column(part)]
        if change is None:
            return ""
        interval = ends(goal, change["low"], change["high"], "+")
        return goal.number(change["mean"], "+") + (f" ({interval})" if interval else "")

    return Column(PART_IN_WORDS[part], text, numeric=True)


def _epochs(row: SheetRow) -> str:
    change = row["changes"]["epochs"]
    if change is None or change["low"] is None:
        return "" if change is None else f"{change['mean']:+.1f}"
    return f"{change['mean']:+.1f} ({change['low']:+.1f} to {change['high']:+.1f})"


def provenance_sheet(found: Difference) -> Sheet:
    """List what differs between the runs of the two studies."""
    rows = [{"what": name, "A": one, "B": other} for name, (one, other) in found.provenance.items()]
    caption = "What differs between the runs of the two studies: code, packages, data and machines."
    columns = tuple(Column(name, itemgetter(name)) for name in ("what", "A", "B"))
    return Sheet("provenance", "Where they come from", caption, columns, tuple(rows))
