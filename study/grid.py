"""Grid files: which cells a study has, what role each factor plays, and when a bad cell may be stopped early."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainables.config import CellConfig

Role = Literal["scientific", "tuned", "fixed"]
Value = bool | int | float | str
Condition = Annotated[dict[str, Value], Field(min_length=1)]

MAX_SEEDS = 1_000_000  # seeds from here on are those of confirmations


class GridError(Exception):
    """A grid that cannot be used: the message names the value, what was expected and the fix."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Factor(_Strict):
    """What the grid varies: a study compares the values of a scientific factor and picks those of a tuned one.

    Without ``values`` it has no part in the product of all factors and takes them from ``cells``.
    """

    role: Role
    values: list[Value] = []


class Rule(_Strict):
    """Settings for the cells that match a condition, such as a learning rate that depends on dropout."""

    when: Condition
    set: Condition


class Contrast(_Strict):
    """A comparison named before the run: the sum of the plus cells less that of the minus cells, seed by seed.

    A condition that several cells match stands for the one with the highest mean validation accuracy.
    """

    name: str
    plus: Annotated[list[Condition], Field(min_length=1)]
    minus: Annotated[list[Condition], Field(min_length=1)]

    @model_validator(mode="after")
    def _balanced(self) -> "Contrast":
        if len(self.plus) != len(self.minus):
            raise ValueError(
                f"contrast {self.name!r} has {len(self.plus)} plus and {len(self.minus)} minus cells: expected as many"
            )
        return self


class Stopping(_Strict):
    """When ASHA stops a cell; ``asha`` is the default scheduler of the grid, ``none`` stops no cell.

    ``grace_period`` is the first epoch at which a cell may be stopped, and of the cells of a stratum that reach it,
    about one in ``reduction_factor`` goes on (Li et al., "A system for massively parallel hyperparameter tuning",
    MLSys 2020). A cell that matches a condition of ``protect`` takes no part.
    """

    scheduler: Literal["asha", "none"] = "asha"
    grace_period: int = Field(20, ge=1)
    reduction_factor: int = Field(2, ge=2)
    protect: list[Condition] = []


class Grid(_Strict):
    """A grid file.

    Cells are the product of all factors' values, less those that match a condition of ``skip``, and after them those
    of ``cells``, each given by its factors. A factor that is given no value has its default.
    """

    name: str
    description: str
    seeds: int = Field(10, ge=1, le=MAX_SEEDS)
    factors: Annotated[dict[str, Factor], Field(min_length=1)]
    rules: list[Rule] = []
    skip: list[Condition] = []
    explicit_cells: list[Condition] = Field([], alias="cells")
    protocol: dict[str, Value] = {}
    stopping: Stopping = Stopping()
    contrasts: list[Contrast] = []

    @model_validator(mode="after")
    def _only_known_settings(self) -> "Grid":
        _check_names("factors", self.factors, CellConfig.model_fields)
        _check_names("protocol", self.protocol, set(CellConfig.model_fields) - set(self.factors))
        for rule in self.rules:
            _check_names("rules.set", rule.set, set(CellConfig.model_fields) - set(self.factors))
        for cell in self.explicit_cells:
            _check_names("cells", cell, self.factors)
        for contrast in self.contrasts:
            for condition in (*contrast.plus, *contrast.minus):
                _check_names(f"contrast {contrast.name!r}", condition, self.roles)
        for name, factor in self.factors.items():
            if not factor.values and not any(name in cell for cell in self.explicit_cells):
                raise ValueError(f"factor {name!r} has no value: give it values, or name it in cells")
        for condition in [*self.skip, *self.stopping.protect, *(rule.when for rule in self.rules)]:
            _check_names("a condition", condition, self.factors)
            for name, value in condition.items():
                if value not in self._values(name):
                    raise ValueError(f"a condition on {name} {value!r} matches no cell: expected a value of the factor")
        return self

    def _values(self, name: str) -> list[Value]:
        """Return all values of a factor, in the product and in explicit cells."""
        default = CellConfig.model_fields[name].default
        return [*self.factors[name].values, *(cell.get(name, default) for cell in self.explicit_cells)]

    def cells(self, data: str | None = None) -> list[CellConfig]:
        """Return the cells in the order of the file, ``data`` overriding the protocol's source; raise GridError."""
        chosen = {} if data is None else {"data": data}
        cells = [self._cell({**self.protocol, **chosen, **settings}) for settings in self._settings()]
        if not cells:
            raise GridError(f"grid {self.name}: skip leaves no cell; remove a condition from skip")
        for cell, count in Counter(cells).items():
            if count > 1:
                raise GridError(
                    f"grid {self.name}: duplicate cell {self.describe(cell)}; list every value of a factor once"
                )
        return cells

    def _settings(self) -> list[dict[str, Value]]:
        """Return the factors of all cells."""
        varied = {name: factor.values for name, factor in self.factors.items() if factor.values}
        combinations = itertools.product(*varied.values()) if varied else ()
        defaults = {name: CellConfig.model_fields[name].default for name in self.factors}
        product = [defaults | dict(zip(varied, values, strict=True)) for values in combinations]
        kept = [settings for settings in product if not _matches_any(settings, self.skip)]
        return [*kept, *(defaults | cell for cell in self.explicit_cells)]

    def _cell(self, settings: dict[str, Value]) -> CellConfig:
        for rule in self.rules:
            if _matches_any(settings, [rule.when]):
                settings = settings | rule.set
        try:
            return CellConfig.model_validate(settings)
        except ValidationError as error:
            raise GridError(f"grid {self.name}: {_first_error(error)}") from None

    def describe(self, cell: CellConfig) -> str:
        """Name a cell by its factors."""
        return ", ".join(f"{name} {format_value(getattr(cell, name))}" for name in self.factors)

    def protects(self, cell: CellConfig) -> bool:
        """Tell whether early stopping must leave the cell alone."""
        return _matches_any(cell.model_dump(), self.stopping.protect)

    def stratum(self, cell: CellConfig) -> tuple[Value, ...]:
        """Return the values of the scientific factors; cells with the same ones compete with each other."""
        return tuple(getattr(cell, name) for name, factor in self.factors.items() if factor.role == "scientific")

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each factor; what only rules set is fixed."""
        ruled = {name: "fixed" for rule in self.rules for name in rule.set}
        return {**{name: factor.role for name, factor in self.factors.items()}, **ruled}  # type: ignore[dict-item]


def format_value(value: Value) -> str:
    """Write a setting as a grid file does: off and on, and no needless decimals."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def grid_names() -> list[str]:
    """Return the names of the grids that are shipped, the smallest first."""
    return ["smoke", "table1", "protocol", "dropout-or-rate", "full"]


def load_grid(name: str) -> Grid:
    """Read a shipped grid by name, or any grid file by its path; raise GridError."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise GridError(f"no grid file {name}: no such file; give the path of a YAML file")
        try:
            return _parse(name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise GridError(f"grid file {name} cannot be read: {error}; expected YAML in UTF-8") from None
    if name not in grid_names():
        raise GridError(
            f"unknown grid {name!r}: expected one of {', '.join(grid_names())}, or the path of a .yaml file"
        )
    return _parse(name, (resources.files("study.grids") / f"{name}.yaml").read_text(encoding="utf-8"))


def _parse(name: str, text: str) -> Grid:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise GridError(f"grid {name}: malformed YAML{line}: {problem}") from None
    if not isinstance(content, dict):
        raise GridError(f"grid {name}: expected keys such as name and factors, got {type(content).__name__}")
    try:
        grid = Grid.model_validate(content)
    except ValidationError as error:
        raise GridError(f"grid {name}: {_first_error(error)}") from None
    cells = [cell.model_dump() for cell in grid.cells()]
    for contrast in grid.contrasts:
        for condition in (*contrast.plus, *contrast.minus):
            if not any(_matches_any(cell, [condition]) for cell in cells):
                raise GridError(f"grid {name}: contrast {contrast.name!r}: no cell matches {condition}")
    return grid


def _first_error(error: ValidationError) -> str:
    """Put the first problem that pydantic found into one line, with the value and where it stands."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where}; remove it or correct its spelling"
    if problem["type"] == "missing":
        return f"the key {where} is missing"
    if not where:
        return message
    return f"{where} is {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _check_names(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown setting {name!r} in {where}: expected one of {', '.join(sorted(known))}")


def _matches_any(settings: Mapping[str, Any], conditions: Iterable[Condition]) -> bool:
    return any(all(settings[name] == value for name, value in condition.items()) for condition in conditions)
