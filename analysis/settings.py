"""The settings of a study's cells: as a table, and in which order reports name them, whichever grid ran first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from analysis.stored import StudyInfo


def cells_table(info: StudyInfo) -> pd.DataFrame:
    """Return the settings of all cells, with their types; one that a cell does not have is NaN."""
    table = pd.DataFrame(info.cells)
    for name in table.columns[table.isna().any()]:
        # Beside NaN and None, pandas would turn whole numbers and switches into fractions.
        table[name] = pd.Series([cell.get(name, np.nan) for cell in info.cells], dtype=object)
    return table


def is_column(values: Iterable[Any]) -> bool:
    """Tell whether values, NaN and None aside, have one type that a column of any file can have."""
    kinds = {type(value) for value in values if value is not None and value == value}
    return list not in kinds and (len(kinds) < 2 or kinds == {int, float})


def merge_orders(orders: Iterable[Sequence[str]]) -> list[str]:
    """Return all names in an order that keeps each one given; what these leave open or contradict is alphabetical."""
    orders = list(orders)
    names = sorted(set().union(*orders))
    sorter = TopologicalSorter(dict.fromkeys(names, ()))
    for before, after in sorted(set().union(*map(pairwise, orders))):
        sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except CycleError:
        return names


def listed_orders(info: StudyInfo) -> Mapping[str, Sequence[Sequence[str]]]:
    """Return the orders in which a study's grids name its factors, its contrasts and the words of each factor."""
    if info.orders:
        return info.orders
    # One grid, or several run by a version that kept no orders: that of its cells.
    found = {"factors": [list(info.roles)], "contrasts": [list(map(itemgetter("name"), info.contrasts))]}
    for name in info.roles:
        words = dict.fromkeys(cell.get(name) for cell in info.cells if isinstance(cell.get(name), str))
        found[f"words of {name}"] = [list(words)]
    return found


def as_key(value: Any) -> str:
    """Return a text that only equal values of a setting share: those of 1 and 1.0, but not of None, off and 0."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return repr(float(value)) if is_number else repr(value)


def values_of(info: StudyInfo, name: str) -> list[Any]:
    """Return the different values that a study's cells have of a setting: none, numbers, words, then others."""
    found: dict[str, Any] = {}
    for cell in info.cells:
        if name in cell:
            found.setdefault(as_key(cell[name]), cell[name])
    words = [[value] for value in found.values() if isinstance(value, str)]
    order = merge_orders([*words, *listed_orders(info).get(f"words of {name}", [])])

    def place(value: Any) -> tuple[int, float, str]:
        if isinstance(value, str):
            return 2, order.index(value), ""
        if isinstance(value, (int, float)):
            return 1, value, ""
        return (0 if value is None else 3), 0, str(value)

    return sorted(found.values(), key=place)


def in_fixed_order(info: StudyInfo) -> StudyInfo:
    """Return a study with its factors, contrasts and cells in an order that no order of runs changes."""
    orders = listed_orders(info)
    factors = [name for name in merge_orders(orders["factors"]) if name in info.roles]
    contrasts = merge_orders(orders["contrasts"])
    places = []
    for name in factors:
        places.append((name, {as_key(value): place for place, value in enumerate(values_of(info, name))}))

    def place_of(cell: Mapping[str, Any]) -> tuple[list[int], str]:
        # A cell that does not have a setting comes before those that do.
        return [place.get(as_key(cell.get(name, math.nan)), -1) for name, place in places], cell["cell_id"]

    return replace(
        info,
        roles={name: info.roles[name] for name in factors},
        contrasts=tuple(sorted(info.contrasts, key=lambda contrast: contrasts.index(contrast["name"]))),
        cells=tuple(sorted(info.cells, key=place_of)),
    )
