"""What must fit together in a grid file, beyond the type of each value. All raise PlacedError."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from study.grid.cells import build_cells, build_suggested
from study.grid.ranges import Search
from study.grid.values import Condition, Settings, matches
from study.grid.yaml_text import PlacedError
from study.words import describe_settings, format_value, suggest

if TYPE_CHECKING:
    from study.grid.grid import Grid


def check_grid(grid: "Grid") -> None:
    """Check a grid whose single values are valid; raise PlacedError for the first problem."""
    if grid.search is not None:
        _check_search(grid, grid.search)
    for name, factor in grid.factors.items():
        in_cells = any(name in cell for cell in grid.explicit_cells)
        if not (factor.values or grid.range_of(name) or in_cells):
            raise PlacedError("the factor has no value: give it values, or name it in cells", "factors", name)
    _check_no_factor(grid, grid.protocol, "protocol")
    for index, rule in enumerate(grid.rules):
        _check_no_factor(grid, rule.set, "rules", index, "set")
        _check_condition(grid, rule.when, "rules", index, "when")
    for index, cell in enumerate(grid.explicit_cells):
        _check_names(cell, grid.factors, "cells", index)
    for index, condition in enumerate(grid.skip):
        _check_condition(grid, condition, "skip", index)
    for index, condition in enumerate(grid.stopping.protect):
        _check_condition(grid, condition, "stopping", "protect", index)
    # Building the cells checks that the values of each go together, with or without contrasts.
    _check_contrasts(grid, [cell.model_dump() for cell in build_cells(grid, {})])


def _check_search(grid: "Grid", search: Search) -> None:
    """Refuse what has no meaning beside a search, and ranges whose ends do not go together."""
    if "data" in search.ranges:
        fix = "give it by --data or in protocol"
        raise PlacedError(f"a search uses one data source; {fix}", "search", "ranges", "data")
    if grid.skip:
        raise PlacedError("a search has no product to skip cells of; remove it, or narrow a range", "skip")
    for name, factor in grid.factors.items():
        if name not in search.ranges and len(factor.values) != 1:
            fix = f"give it one, or search it: search.ranges.{name} with choices"
            raise PlacedError(f"all cells of a search have one value of it; {fix}", "factors", name, "values")
    for index, cell in enumerate(grid.explicit_cells):
        _check_names(cell, search.ranges, "cells", index)
        _check_condition(grid, cell, "cells", index)
    if search.budget.cells(grid.seeds) == 0:
        expected = f"expected at least {grid.seeds}, the seeds of a cell, not {search.budget.trainings}"
        raise PlacedError(expected, "search", "budget", "trainings")
    for point in search.ends():
        build_suggested(grid, point, {})


def _check_no_factor(grid: "Grid", settings: Settings, *at: str | int) -> None:
    for name in settings:
        if name in grid.factors:
            raise PlacedError("a factor has its values in factors and cells; remove it here or there", *at, name)


def _check_names(names: Iterable[str], known: Iterable[str], *at: str | int) -> None:
    for name in names:
        if name not in known:
            raise PlacedError(f"not a factor of this grid; {suggest(name, known)}", *at, name)


def _check_condition(grid: "Grid", condition: Condition, *at: str | int) -> None:
    """Check that the condition names factors, and values that some cell may have."""
    _check_names(condition, grid.factors, *at)
    for name, value in condition.items():
        searched = grid.range_of(name)
        if searched is not None:
            if not searched.holds(value):
                raise PlacedError(f"no cell has {format_value(value)}; expected {searched.describe()}", *at, name)
            continue
        default = grid.settings_class.model_fields[name].default
        values = [*grid.factors[name].values, *(cell.get(name, default) for cell in grid.explicit_cells)]
        if value not in values:
            there = ", ".join(dict.fromkeys(map(format_value, values)))
            raise PlacedError(f"no cell has {format_value(value)}; expected one of {there}", *at, name)


def _check_contrasts(grid: "Grid", cells: list[dict[str, Any]]) -> None:
    for index, contrast in enumerate(grid.contrasts):
        for side, conditions in (("plus", contrast.plus), ("minus", contrast.minus)):
            for number, condition in enumerate(conditions):
                _check_side(grid, cells, condition, "contrasts", index, side, number)


def _check_side(grid: "Grid", cells: list[dict[str, Any]], condition: Condition, *at: str | int) -> None:
    _check_names(condition, grid.roles, *at)
    if grid.search:
        # Most cells of a search are not known yet. What rules set follows from the factors.
        factors = {name: value for name, value in condition.items() if name in grid.factors}
        _check_condition(grid, factors, *at)
    elif not any(matches(cell, condition) for cell in cells):
        raise PlacedError(f"no cell matches {describe_settings(condition)}", *at)
