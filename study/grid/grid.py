"""Grid files: which cells a study has, what role each factor plays, and when a bad cell may be stopped early."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from study.errors import StudyError
from study.grid import MAX_SEEDS as MAX_SEEDS
from study.grid.checks import _check_names
from study.grid.parts import Contrast, Factor, Role, Rule, Stopping, typed_factors
from study.grid.ranges import Range, Search
from study.grid.shipped import grid_names as grid_names
from study.grid.values import Condition, Count, Settings, Strict, class_of, current_class, settings_of, typed
from study.grid.yaml_text import At, PlacedError
from study.words import Value, describe
from study.words import format_value as format_value
from trainables.config import CellSettings


class GridError(StudyError):
    """A grid that cannot be used: the message names the value, what was expected and the fix."""


class Grid(Strict):
    """A grid file.

    Cells are the product of all factors' values, less those that match a condition of ``skip``, and after them those
    of ``cells``, each given by its factors. A factor that is given no value has its default.
    """

    name: str = Field(description="The study's name where --name gives no other: letters, digits, '.', '_' and '-'.")
    description: str = Field(description="What the study asks, in a sentence or two.")
    seeds: Count = Field(10, ge=1, le=MAX_SEEDS, description="How many seeds each cell has; --seeds overrides it.")
    factors: Annotated[dict[str, Factor], AfterValidator(typed_factors), Field(min_length=1)] = Field(
        description="What varies from cell to cell: settings, each with its role and its values."
    )
    rules: list[Rule] = Field([], description="Settings that follow from factors; of two rules the later one counts.")
    skip: list[Condition] = Field([], description="Cells of the product that match one of these are left out.")
    explicit_cells: list[Condition] = Field(
        [], alias="cells", description="Further cells, each by its factors; one that is not named has its default."
    )
    protocol: Settings = Field({}, description="Settings that are the same for all cells, where not the report's.")
    stopping: Stopping = Field(Stopping(), description="When a cell may be stopped early.")
    contrasts: list[Contrast] = Field([], description="Comparisons named before the run; Holm-corrected.")
    search: Search | None = Field(
        None,
        description="Cells beyond cells, or, without those, beyond the middle of all ranges: suggested by Optuna, one "
        "after another, for the highest mean validation accuracy. The settings searched are tuned factors.",
    )

    @model_validator(mode="before")
    @classmethod
    def _searched_are_factors(cls, content: Any) -> Any:
        """Make the settings that are searched tuned factors without values; what is malformed is told by Search."""
        search = content.get("search") if isinstance(content, dict) else None
        ranges = search.get("ranges") if isinstance(search, dict) else None
        factors = content.get("factors", {}) if isinstance(ranges, dict) else None
        if not isinstance(ranges, dict) or not isinstance(factors, dict):
            return content
        for name in ranges:
            if name in factors:
                raise PlacedError("it is searched, so that it has no values; remove it here, or there", "factors", name)
        searched = {name: {"role": "tuned"} for name in ranges if name in current_class().model_fields}
        return content | {"factors": factors | searched}

    @model_validator(mode="after")
    def _fits_together(self) -> "Grid":
        self._check_search()
        for name, factor in self.factors.items():
            if not factor.values and not (self._range(name) or any(name in cell for cell in self.explicit_cells)):
                raise PlacedError("the factor has no value: give it values, or name it in cells", "factors", name)
        self._check_settings(self.protocol, "protocol")
        for index, rule in enumerate(self.rules):
            self._check_settings(rule.set, "rules", index, "set")
            self._check_condition(rule.when, "rules", index, "when")
        for index, cell in enumerate(self.explicit_cells):
            _check_names(cell, self.factors, "cells", index)
        for index, condition in enumerate(self.skip):
            self._check_condition(condition, "skip", index)
        for index, condition in enumerate(self.stopping.protect):
            self._check_condition(condition, "stopping", "protect", index)
        self._check_contrasts([cell.model_dump() for cell in self._cells({})])
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _by_its_model(cls, content: Any, handler: ModelWrapValidatorHandler["Grid"]) -> "Grid":
        with settings_of(class_of(content)):
            return handler(content)

    def _its_settings(self) -> AbstractContextManager[None]:
        content = {"protocol": self.protocol, "cells": self.explicit_cells}
        return settings_of(class_of(content | {"factors": {name: vars(of) for name, of in self.factors.items()}}))

    def _range(self, name: str) -> Range | None:
        """Return what is searched of a setting."""
        return self.search.ranges.get(name) if self.search else None

    def _check_search(self) -> None:
        """Refuse what has no meaning beside a search, and ranges whose ends do not go together."""
        if self.search is None:
            return
        if "data" in self.search.ranges:
            raise PlacedError("a search is on one source; give it by --data or in protocol", "search", "ranges", "data")
        if self.skip:
            raise PlacedError("a search has no product to skip cells of; remove it, or narrow a range", "skip")
        for name, factor in self.factors.items():
            if name not in self.search.ranges and len(factor.values) != 1:
                fix = f"give it one, or search it: search.ranges.{name} with choices"
                raise PlacedError(f"all cells of a search have one value of it; {fix}", "factors", name, "values")
        for index, cell in enumerate(self.explicit_cells):
            _check_names(cell, self.search.ranges, "cells", index)
            self._check_condition(cell, "cells", index)
        if self.search.budget.cells(self.seeds) == 0:
            expected = f"expected at least {self.seeds}, the seeds of a cell, not {self.search.budget.trainings}"
            raise PlacedError(expected, "search", "budget", "trainings")
        for point in self.search.ends():
            self._suggested(point, {})

    def _check_settings(self, settings: Mapping[str, Value], *at: str | int) -> None:
        for name in settings:
            if name in self.factors:
                raise PlacedError("a factor has its values in factors and cells; remove it here, or there", *at, name)

    def _check_condition(self, condition: Condition, *at: str | int) -> None:
        _check_names(condition, self.factors, *at)
        for name, value in condition.items():
            if given := self._range(name):
                if not given.holds(value):
                    raise PlacedError(f"no cell has {format_value(value)}; expected {given.describe()}", *at, name)
                continue
            default = current_class().model_fields[name].default
            values = [*self.factors[name].values, *(cell.get(name, default) for cell in self.explicit_cells)]
            if value not in values:
                there = ", ".join(dict.fromkeys(map(format_value, values)))
                raise PlacedError(f"no cell has {format_value(value)}; expected one of {there}", *at, name)

    def _check_contrasts(self, cells: list[dict[str, Any]]) -> None:
        for index, contrast in enumerate(self.contrasts):
            for side, conditions in (("plus", contrast.plus), ("minus", contrast.minus)):
                for number, condition in enumerate(conditions):
                    at = ("contrasts", index, side, number)
                    _check_names(condition, self.roles, *at)
                    if self.search:
                        self._check_condition(
                            {name: condition[name] for name in condition if name in self.factors}, *at
                        )
                    elif not any(_matches_any(cell, [condition]) for cell in cells):
                        raise PlacedError(f"no cell matches {describe(condition)}", *at)

    def cells(self, data: str | None = None) -> list[CellSettings]:
        """Return the cells in the order of the file, ``data`` overriding the protocol's source; raise GridError."""
        try:
            with self._its_settings():
                return self._cells({} if data is None else {"data": typed("data", data)})
        except PlacedError as error:
            raise GridError(f"grid {self.name}: {error.message}") from None

    def _cells(self, chosen: Mapping[str, Value]) -> list[CellSettings]:
        """Return the cells, with the chosen settings in place of the protocol's; raise PlacedError."""
        cells: dict[CellSettings, None] = {}
        for settings, at in self._combinations():
            cell = self._cell({**self.protocol, **chosen, **settings}, at)
            if cell in cells:
                raise PlacedError(f"duplicate cell {self.describe(cell)}; remove it", *at)
            cells[cell] = None
        if not cells:
            raise PlacedError("no cell is left; remove a condition", "skip")
        return list(cells)

    def _combinations(self) -> Iterator[tuple[dict[str, Value], At]]:
        """Yield the factors of each cell, and where in the file it comes from."""
        if self.search:
            middle = {name: given.middle for name, given in self.search.ranges.items()}
            for index, cell in enumerate(self.explicit_cells):
                yield self._fixed | middle | cell, ("cells", index)
            if not self.explicit_cells:
                yield self._fixed | middle, ("search", "ranges")
            return
        varied = {name: factor.values for name, factor in self.factors.items() if factor.values}
        defaults = {name: current_class().model_fields[name].default for name in self.factors}
        for values in itertools.product(*varied.values()) if varied else ():
            settings = defaults | dict(zip(varied, values, strict=True))
            if not _matches_any(settings, self.skip):
                yield settings, ("factors",)
        for index, cell in enumerate(self.explicit_cells):
            yield defaults | cell, ("cells", index)

    def _cell(self, settings: dict[str, Value], at: At) -> CellSettings:
        factors = {name: settings[name] for name in self.factors}
        for rule in self.rules:
            if _matches_any(settings, [rule.when]):
                settings = settings | rule.set
        try:
            return current_class().model_validate(settings)
        except ValidationError as error:  # each value is possible: it is two of them that do not go together
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise PlacedError(f"the cell {describe(factors)}: {reason}", *self._origin(reason.split()[0], at)) from None

    def _origin(self, setting: str, at: At) -> At:
        """Return where a setting of a cell from ``at`` comes from; a reason begins with the name of the setting."""
        ruled = [("rules", index, "set", setting) for index, rule in enumerate(self.rules) if setting in rule.set]
        if ruled:
            return ruled[-1]
        if setting in self.protocol:
            return "protocol", setting
        return (*at, setting) if setting in self.factors else at

    @property
    def _fixed(self) -> dict[str, Value]:
        """The factors of a search that are not searched."""
        return {name: factor.values[0] for name, factor in self.factors.items() if factor.values}

    def _suggested(self, point: Mapping[str, Value], chosen: Mapping[str, Value]) -> CellSettings:
        return self._cell({**self.protocol, **chosen, **self._fixed, **point}, ("search", "ranges"))

    def suggested(self, point: Mapping[str, Value], data: str | None) -> CellSettings:
        """Return the cell of a search with these values of what is searched; raise GridError for an impossible one."""
        try:
            with self._its_settings():
                return self._suggested(point, {} if data is None else {"data": data})
        except PlacedError as error:
            raise GridError(f"grid {self.name}: {error.message}") from None

    def ends(self, data: str | None) -> list[CellSettings]:
        """Return the cells at the ends of all ranges of a search; none without a search."""
        return [self.suggested(point, data) for point in self.search.ends()] if self.search else []

    @property
    def most_cells(self) -> int | None:
        """How many cells a run leaves in the store; None for a search that time alone ends."""
        most = len(self.cells())
        if self.search is None:
            return most
        budgeted = self.search.budget.cells(self.seeds)
        return None if budgeted is None else max(most, budgeted)

    def describe(self, cell: CellSettings) -> str:
        """Name a cell by its factors."""
        return describe({name: getattr(cell, name) for name in self.factors})

    def protects(self, cell: CellSettings) -> bool:
        """Tell whether early stopping must leave the cell alone."""
        return _matches_any(cell.model_dump(), self.stopping.protect)

    def stratum(self, cell: CellSettings) -> tuple[Value, ...]:
        """Return the values of the scientific factors; cells with the same ones compete with each other."""
        return tuple(getattr(cell, name) for name, factor in self.factors.items() if factor.role == "scientific")

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each factor; what only rules set is fixed."""
        ruled = {name: "fixed" for rule in self.rules for name in rule.set}
        return {**{name: factor.role for name, factor in self.factors.items()}, **ruled}  # type: ignore[dict-item]


def _matches_any(settings: Mapping[str, Any], conditions: Iterable[Condition]) -> bool:
    return any(all(settings[name] == value for name, value in condition.items()) for condition in conditions)
