"""What must fit together in a grid file, beyond the type of each value. All raise PlacedError."""

from collections.abc import Iterable
from typing import Any

from study.grid.cells import build_cells, build_suggested, defaults_of
from study.grid.fields import GridFields
from study.grid.ranges import Search
from study.grid.values import Condition, Settings, matches
from study.grid.yaml_text import PlacedError
from study.words import describe_settings, format_value, suggest


def check_grid(grid: GridFields) -> None:
    """Check a grid whose single values are valid; raise PlacedError for the first problem."""
    _check_metrics(grid)
    if grid.search is not None:
        _check_search(grid, grid.search)
    in_cells = set[str]().union(*grid.explicit_cells)
    for name, factor in grid.factors.items():
        if not (factor.values or grid.range_of(name) or name in in_cells):
            fix = "give it values, or name it in cells"
            raise PlacedError(f"the factor has no value: {fix}", "factors", name)
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
    cells = [cell.model_dump() for cell in build_cells(grid, {})]
    if grid.replicate is not None:
        _check_replicate(grid, grid.replicate.looks[0])
    for index, contrast in enumerate(grid.contrasts):
        for number, condition in enumerate(contrast.plus):
            _check_compared(grid, cells, condition, "contrasts", index, "plus", number)
        for number, condition in enumerate(contrast.minus):
            _check_compared(grid, cells, condition, "contrasts", index, "minus", number)


def _check_metrics(grid: GridFields) -> None:
    """Check that all models report the objective, and metrics of one name alike."""
    shared = [metric.name for metric in grid.metrics]
    for model, cls in grid.models.items():
        own = {metric.name: metric for metric in cls.metrics}
        if not own:
            raise PlacedError(f"the Settings of {model} name no metrics; expected metrics = (Metric(...),)")
        for metric in grid.metrics:
            if own.get(metric.name, metric) != metric:
                raise PlacedError(f"the metric {metric.name} of {model} and of another model differ; let both have one")
        shared = list(filter(own.__contains__, shared))

    objective = grid.objective or grid.objective_metric.name
    if objective not in shared:
        hint = suggest(objective, shared) if shared else "the models of a grid need one metric that all of them have"
        raise PlacedError(f"{objective} is not a metric of all models of this grid; {hint}", "objective")


def _check_replicate(grid: GridFields, first: int) -> None:
    if grid.search is not None:
        raise PlacedError("a search chooses its cells by their seeds; remove one of both", "replicate")
    if not grid.contrasts:
        raise PlacedError("there is nothing to decide; name contrasts, or remove it", "replicate")
    if grid.seeds != first:
        raise PlacedError(f"seeds is {grid.seeds}, the first look {first}; give both the same number", "replicate")


def _check_search(grid: GridFields, search: Search) -> None:
    """Refuse what has no meaning beside a search, and ranges whose ends do not go together."""
    if "data" in search.ranges:
        problem = "a search uses one data source; give it by --data or in protocol"
        raise PlacedError(problem, "search", "ranges", "data")
    if grid.skip:
        raise PlacedError("a search has no product to skip cells of; remove it, or narrow a range", "skip")
    for name, factor in grid.factors.items():
        if name not in search.ranges and len(factor.values) != 1:
            fix = f"give it one, or search it: search.ranges.{name} with choices"
            problem = f"all cells of a search have one value of it; {fix}"
            raise PlacedError(problem, "factors", name, "values")
    for index, cell in enumerate(grid.explicit_cells):
        _check_names(cell, search.ranges, "cells", index)
        _check_condition(grid, cell, "cells", index)
    if search.budget.cells(grid.seeds) == 0:
        problem = f"expected at least {grid.seeds}, the seeds of a cell, not {search.budget.trainings}"
        raise PlacedError(problem, "search", "budget", "trainings")
    for point in search.ends():
        build_suggested(grid, point, {})


def _check_no_factor(grid: GridFields, settings: Settings, *at: str | int) -> None:
    for name in settings:
        if name in grid.factors:
            problem = "a factor has its values in factors and cells; remove it here or there"
            raise PlacedError(problem, *at, name)


def _check_names(names: Iterable[str], known: Iterable[str], *at: str | int) -> None:
    for name in names:
        if name not in known:
            raise PlacedError(f"not a factor of this grid; {suggest(name, known)}", *at, name)


def _check_condition(grid: GridFields, condition: Condition, *at: str | int) -> None:
    """Check that the condition names factors, and values that some cell may have."""
    _check_names(condition, grid.factors, *at)
    for name, value in condition.items():
        if (searched := grid.range_of(name)) is not None:
            possible = searched.holds(value)
            expected = searched.describe()
        else:
            # The product has the factor's values; other cells have their own, or the default.
            values = [*grid.factors[name].values]
            for cell in grid.explicit_cells:
                values += [cell[name]] if name in cell else defaults_of(grid, name)
            possible = value in values
            expected = f"one of {', '.join(dict.fromkeys(map(format_value, values)))}"
        if not possible:
            raise PlacedError(f"no cell has {format_value(value)}; expected {expected}", *at, name)


def _check_compared(grid: GridFields, cells: list[dict[str, Any]], condition: Condition, *at: str | int) -> None:
    _check_names(condition, grid.roles, *at)
    if grid.search:
        # Most cells of a search are not known yet. What rules set follows from the factors.
        factors = {name: value for name, value in condition.items() if name in grid.factors}
        _check_condition(grid, factors, *at)
    elif not any(matches(cell, condition) for cell in cells):
        raise PlacedError(f"no cell matches {describe_settings(condition)}", *at)
