"""A grid file: which cells a study has, the role of each factor, and when a bad cell may be stopped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, PrivateAttr, ValidationInfo, model_validator

from study.errors import StudyError
from study.grid import MAX_SEEDS
from study.grid.cells import build_cells, build_suggested
from study.grid.checks import check_grid
from study.grid.parts import Contrast, Factor, Role, Rule, Stopping, typed_factors
from study.grid.ranges import Range, Search, add_searched_factors
from study.grid.values import Condition, Count, Settings, Strict, context_class, find_settings_class, matches_any, typed
from study.grid.yaml_text import PlacedError
from study.words import Value, describe_settings
from trainables.config import CellSettings


class GridError(StudyError):
    """A grid that cannot be used: the message names the value, what is expected and the fix."""


class Grid(Strict):
    """A grid file, validated by ``Grid.model_validate(content)``.

    The cells are the product of all factors' values without those that match a condition of
    ``skip``, and after them those of ``cells``. A factor without a value has its default.
    """

    name: str = Field(description="The study's name without --name: letters, digits, '.', '_' and '-'.")
    description: str = Field(description="The question of the study, in a sentence or two.")
    seeds: Count = Field(10, ge=1, le=MAX_SEEDS, description="Seeds of each cell; --seeds overrides it.")
    factors: Annotated[dict[str, Factor], AfterValidator(typed_factors), Field(min_length=1)] = Field(
        description="The settings that vary from cell to cell, each with its role and its values."
    )
    rules: list[Rule] = Field([], description="Settings that follow from factors. Later rules override earlier ones.")
    skip: list[Condition] = Field([], description="Cells of the product that match one of these are left out.")
    explicit_cells: list[Condition] = Field(
        [], alias="cells", description="Further cells, by their factors. A factor not named has its default."
    )
    protocol: Settings = Field({}, description="Settings that are the same for all cells, if not the defaults.")
    stopping: Stopping = Field(Stopping(), description="When a cell may be stopped early.")
    contrasts: list[Contrast] = Field([], description="Comparisons named before the run; p is Holm-corrected.")
    search: Search | None = Field(
        None,
        description="Let Optuna suggest cells, one after another, for the highest mean validation "
        "accuracy. It begins with the cells under cells, or without those with the middle of all "
        "ranges. What is searched is a tuned factor.",
    )
    _settings_class: type[CellSettings] = PrivateAttr()

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, content: Any, fields: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        # The content says which model's settings it has, but the context of a validation
        # cannot be set from within. So it begins again, with the context.
        if info.context is None:
            return cls.model_validate(content, context=find_settings_class(content))
        settings = context_class(info)
        grid = fields(add_searched_factors(content, settings))
        grid._settings_class = settings
        check_grid(grid)
        return grid

    @property
    def settings_class(self) -> type[CellSettings]:
        """The class of the cells."""
        return self._settings_class

    def range_of(self, name: str) -> Range | None:
        """Return the range in which a setting is searched, or None if it is not."""
        return self.search.ranges.get(name) if self.search else None

    def cells(self, data: str | None = None) -> list[CellSettings]:
        """Return the cells in the order of the file, of the source ``data`` if given; raise GridError."""
        with self._chosen(data) as chosen:
            return build_cells(self, chosen)

    def suggested(self, point: Mapping[str, Value], data: str | None) -> CellSettings:
        """Return the cell at a point of the search; raise GridError if it is impossible."""
        with self._chosen(data) as chosen:
            return build_suggested(self, point, chosen)

    def ends(self, data: str | None) -> list[CellSettings]:
        """Return the cells at the ends of all ranges of a search; none without a search."""
        return [self.suggested(point, data) for point in self.search.ends()] if self.search else []

    @contextmanager
    def _chosen(self, data: str | None) -> Iterator[dict[str, Value]]:
        """Yield what a run sets in the protocol; what does not fit is raised as GridError."""
        try:
            yield {} if data is None else {"data": typed(self.settings_class, "data", data)}
        except PlacedError as error:
            raise GridError(f"grid {self.name}: {error}") from None

    @property
    def most_cells(self) -> int | None:
        """How many cells a run leaves in the store; None if only time limits its search."""
        most = len(self.cells())
        if self.search is None:
            return most
        budgeted = self.search.budget.cells(self.seeds)
        return None if budgeted is None else max(most, budgeted)

    def describe(self, cell: CellSettings) -> str:
        """Return a cell's label: its factors in one line."""
        return describe_settings({name: getattr(cell, name) for name in self.factors})

    def protects(self, cell: CellSettings) -> bool:
        """Tell whether early stopping must leave the cell alone."""
        return matches_any(cell.model_dump(), self.stopping.protect)

    def stratum(self, cell: CellSettings) -> tuple[Value, ...]:
        """Return the values of the scientific factors; cells with the same values compete."""
        return tuple(getattr(cell, name) for name, of in self.factors.items() if of.role == "scientific")

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each factor; what only rules set is fixed."""
        roles: dict[str, Role] = {name: factor.role for name, factor in self.factors.items()}
        for rule in self.rules:
            roles |= dict.fromkeys(rule.set, "fixed")
        return roles
