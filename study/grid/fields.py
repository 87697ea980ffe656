"""What a grid file says: its keys, each with its type and what editors show of it."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, PrivateAttr

from study.grid import MAX_SEEDS, MOST_CONDITIONS
from study.grid.parts import Contrast, Factor, Replicate, Role, Rule, Stopping, typed_factors
from study.grid.ranges import Range, Search
from study.grid.values import Condition, Count, Models, Settings, Strict
from study.grid.yaml_text import PlacedError
from study.words import Value, describe_settings
from trainables.config import Draw, Metric, TrainingSettings


class GridFields(Strict):
    """The content of a grid file, of which ``Grid`` makes cells."""

    name: str = Field(description="The study's name without --name: letters, digits, '.', '_' and '-'.")
    description: str = Field(description="The question of the study, in a sentence or two.")
    seeds: Count = Field(10, ge=1, le=MAX_SEEDS, description="Seeds of each cell; --seeds overrides it.")
    factors: Annotated[dict[str, Factor], AfterValidator(typed_factors), Field(min_length=1)] = Field(
        description="The settings that vary from cell to cell, each with its role and its values."
    )
    rules: list[Rule] = Field(
        [],
        max_length=MOST_CONDITIONS,
        description="Settings that follow from factors. Later rules override earlier ones.",
    )
    skip: list[Condition] = Field(
        [], max_length=MOST_CONDITIONS, description="Cells of the product that match one of these are left out."
    )
    explicit_cells: list[Condition] = Field(
        [], alias="cells", description="Further cells, by their factors. A factor not named has its default."
    )
    protocol: Settings = Field({}, description="Settings that are the same for all cells, if not the defaults.")
    stopping: Stopping = Field(Stopping(), description="When a cell may be stopped early.")
    contrasts: list[Contrast] = Field(
        [], max_length=MOST_CONDITIONS, description="Comparisons named before the run; p is Holm-corrected."
    )
    replicate: Replicate | None = Field(
        None, description="Let `study run --until-decided` add seeds, only where a contrast is undecided."
    )
    objective: str | None = Field(
        None,
        description="The metric that selection, early stopping and a search go by; by default the model's first.",
    )
    draw: Draw | None = Field(
        None,
        description="What data the seeds have, if the model does not say: each_seed is fresh, resplit (of one data "
        "set, with test_per_train) or same. It decides what the intervals of the report are about.",
    )
    search: Search | None = Field(
        None,
        description="Let Optuna suggest cells, one after another, for the best mean of the objective "
        "on the validation part. It begins with the cells under cells, or without those with the middle of all "
        "ranges. What is searched is a tuned factor.",
    )
    _models: Models = PrivateAttr()

    @property
    def models(self) -> Models:
        """The models that the grid names, with the classes of their cells."""
        return self._models

    def class_of(self, settings: Mapping[str, Value]) -> type[TrainingSettings]:
        """Return the class of a cell with these settings; raise PlacedError if they leave it open."""
        # A model that only rules name has the settings of the others.
        classes = {*self.models.values()}
        found = self.models.get(str(settings.get("model")), min(classes, key=str))
        if len(classes) > 1 and settings.get("model") not in self.models:
            raise PlacedError(f"the cell names no model; expected one of {', '.join(self.models)}")
        return found

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that the cells report, each once."""
        found: dict[str, Metric] = {}
        for cls in self.models.values():
            for metric in cls.metrics:
                found.setdefault(metric.name, metric)
        return tuple(found.values())

    @property
    def objective_metric(self) -> Metric:
        """The metric that selection, early stopping and a search go by."""
        return next(metric for metric in self.metrics if self.objective in (None, metric.name))

    def range_of(self, name: str) -> Range | None:
        """Return the range in which a setting is searched, or None if it is not."""
        return self.search.ranges.get(name) if self.search else None

    def describe(self, cell: TrainingSettings) -> str:
        """Return a cell's label: its factors in one line."""
        return describe_settings({name: getattr(cell, name) for name in self.factors})

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each factor; what only rules set is fixed, if all models have it."""
        roles: dict[str, Role] = {name: factor.role for name, factor in self.factors.items()}
        for rule in self.rules:
            roles |= dict.fromkeys(filter(self._is_of_all, rule.set), "fixed")
        return roles

    def _is_of_all(self, name: str) -> bool:
        """Tell whether all models have a setting."""
        return all(name in cls.model_fields for cls in self.models.values())
