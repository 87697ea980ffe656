"""The cells of a grid: combinations of its factors, with the rules applied. All raise PlacedError."""

import itertools
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from pydantic import ValidationError

from study.grid import MOST_CELLS
from study.grid.fields import GridFields
from study.grid.values import matches, matches_any
from study.grid.yaml_text import At, PlacedError
from study.words import Value, describe_settings
from trainables.config import TrainingSettings

Factors = dict[str, Value]


def build_cells(grid: GridFields, chosen: Mapping[str, Value]) -> list[TrainingSettings]:
    """Return the cells in the file's order; ``chosen`` overrides settings of the protocol."""
    cells: dict[TrainingSettings, None] = {}
    for factors, at in _combinations(grid):
        cell = _build_cell(grid, {**grid.protocol, **chosen, **factors}, at)
        if cell in cells:
            raise PlacedError(f"duplicate cell {grid.describe(cell)}; remove it", *at)
        cells[cell] = None
    if not cells:
        raise PlacedError("no cell is left; remove a condition", "skip")
    return list(cells)


def build_suggested(grid: GridFields, point: Mapping[str, Value], chosen: Mapping[str, Value]) -> TrainingSettings:
    """Return the cell at a point of a search's ranges; ``chosen`` is as for ``build_cells``."""
    settings = {**grid.protocol, **chosen, **_not_searched(grid), **point}
    return _build_cell(grid, settings, ("search", "ranges"))


def _combinations(grid: GridFields) -> Iterator[tuple[Factors, At]]:
    """Yield the factors of each cell, and where in the file it comes from."""
    if grid.search:
        usual = _not_searched(grid)
        for name, given in grid.search.ranges.items():
            usual[name] = given.middle
        if not grid.explicit_cells:
            yield usual, ("search", "ranges")
    else:
        usual = {}
        varied = {name: factor.values for name, factor in grid.factors.items() if factor.values}
        if (cells := prod(map(len, varied.values()))) > MOST_CELLS:
            problem = f"the values make {cells:,} cells, and a grid has at most {MOST_CELLS:,}"
            raise PlacedError(f"{problem}; remove values, or let a search choose cells", "factors")
        # Without any values there is no product: the empty one would be a cell of defaults.
        for values in itertools.product(*varied.values()) if varied else ():
            factors = _with_defaults(grid, dict(zip(varied, values, strict=True)), ("factors",))
            if not matches_any(factors, grid.skip):
                yield factors, ("factors",)
    for index, cell in enumerate(grid.explicit_cells):
        at: At = ("cells", index)
        yield _with_defaults(grid, usual | cell, at), at


def _with_defaults(grid: GridFields, given: Factors, at: At) -> Factors:
    """Return all factors of a cell in the file's order: those that are not given have the model's default."""
    cls = _class_of(grid, grid.protocol | given, at)
    factors = {}
    for name in grid.factors:
        field = cls.model_fields[name]
        if name in given:
            factors[name] = given[name]
        elif not field.is_required():
            factors[name] = field.get_default(call_default_factory=True)
    return factors


def defaults_of(grid: GridFields, name: str) -> list[Any]:
    """Return the defaults that the models have of a setting; none if all need a value."""
    fields = (cls.model_fields[name] for cls in dict.fromkeys(grid.models.values()))
    return [field.get_default(call_default_factory=True) for field in fields if not field.is_required()]


def _class_of(grid: GridFields, settings: Factors, at: At) -> type[TrainingSettings]:
    try:
        return grid.class_of(settings)
    except PlacedError as error:
        raise PlacedError(str(error), *at) from None


def _not_searched(grid: GridFields) -> Factors:
    """Return the factors of a search that are not searched: each has one value."""
    return {name: factor.values[0] for name, factor in grid.factors.items() if factor.values}


def _build_cell(grid: GridFields, settings: Factors, at: At) -> TrainingSettings:
    factors = {name: settings[name] for name in grid.factors if name in settings}
    for rule in grid.rules:
        if matches(settings, rule.when):
            settings = settings | rule.set
    cls = _class_of(grid, settings, at)
    try:
        # What only other models have is not for this cell.
        return cls.model_validate({name: value for name, value in settings.items() if name in cls.model_fields})
    except ValidationError as error:
        problem = error.errors()[0]
        if problem["type"] == "missing":
            needed = f"needs a value of {problem['loc'][0]}; set it in protocol or rules"
            raise PlacedError(f"the cell {describe_settings(factors)} {needed}", *at) from None
        # Two values, each possible, do not go together. The reason begins with one's name.
        reason = problem["msg"].removeprefix("Value error, ")
        where = _origin(grid, reason.split()[0], at)
        raise PlacedError(f"the cell {describe_settings(factors)}: {reason}", *where) from None


def _origin(grid: GridFields, setting: str, at: At) -> At:
    """Return where a setting of a cell from ``at`` has its value from."""
    for index, rule in reversed(list(enumerate(grid.rules))):  # the later rule counts
        if setting in rule.set:
            return "rules", index, "set", setting
    if setting in grid.protocol:
        return "protocol", setting
    return (*at, setting) if setting in grid.factors else at
