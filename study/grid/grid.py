"""A grid file: which cells a study has, the role of each factor, and when a bad cell may be stopped."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

from pydantic import ModelWrapValidatorHandler, ValidationInfo, model_validator

from analysis.stored import StudyInfo
from study.errors import StudyError
from study.grid.cells import build_cells, build_suggested
from study.grid.checks import check_grid
from study.grid.fields import GridFields
from study.grid.parts import Factor, Role
from study.grid.ranges import add_searched_factors
from study.grid.values import context_models, find_models, matches_any, typed
from study.grid.yaml_text import PlacedError
from study.words import Value
from trainables.config import TrainingSettings


class GridError(StudyError):
    """A grid that cannot be used: the message names the value, what is expected and the fix."""


class Grid(GridFields):
    """A grid file, validated by ``Grid.model_validate(content)``.

    The cells are the product of all factors' values without those that match a condition of
    ``skip``, and after them those of ``cells``. A factor without a value has its default.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, content: Any, fields: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        # The content says which models' settings it has, but the context of a validation
        # cannot be set from within. So it begins again, with the context.
        if info.context is None:
            return cls.model_validate(content, context=find_models(content))
        models = context_models(info)
        grid = fields(add_searched_factors(content, models))
        grid._models = models
        check_grid(grid)
        return grid

    @classmethod
    def of_study(cls, info: StudyInfo, description: str, cells: Iterable[TrainingSettings]) -> "Grid":
        """Return a grid with the factors of a study, for some of its cells: they have been checked already."""
        factors = {name: Factor(role=cast(Role, role)) for name, role in info.roles.items()}
        grid = cls.model_construct(name=info.grid, description=description, factors=factors, objective=info.objective)
        grid._models = {cell.model: type(cell) for cell in cells}
        return grid

    def cells(self, data: str | None = None) -> list[TrainingSettings]:
        """Return the cells in the order of the file, of the source ``data`` if given; raise GridError."""
        with self._chosen(data) as chosen:
            return build_cells(self, chosen)

    def suggested(self, point: Mapping[str, Value], data: str | None) -> TrainingSettings:
        """Return the cell at a point of the search; raise GridError if it is impossible."""
        with self._chosen(data) as chosen:
            return build_suggested(self, point, chosen)

    def ends(self, data: str | None) -> list[TrainingSettings]:
        """Return the cells at the ends of all ranges of a search; none without a search."""
        return [self.suggested(point, data) for point in self.search.ends()] if self.search else []

    @contextmanager
    def _chosen(self, data: str | None) -> Iterator[dict[str, Value]]:
        """Yield what a run sets in the protocol; what does not fit is raised as GridError."""
        try:
            yield {} if data is None else {"data": typed(self.models, "data", data)}
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

    def protects(self, cell: TrainingSettings) -> bool:
        """Tell whether early stopping must leave the cell alone: it is protected, or gets seeds for a contrast."""
        protected = [*self.stopping.protect]
        for contrast in self.contrasts if self.replicate else ():
            protected += [*contrast.plus, *contrast.minus]
        return matches_any(cell.model_dump(), protected)

    def stratum(self, cell: TrainingSettings) -> tuple[Value, ...]:
        """Return the values of the scientific factors; cells with the same values compete."""
        return tuple(getattr(cell, name) for name, of in self.factors.items() if of.role == "scientific")
