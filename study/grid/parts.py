"""The parts of a grid file: factors, rules, contrasts, and when a cell may be stopped."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from study.grid.values import Condition, Count, Scalar, Strict, current_class, typed
from study.grid.yaml_text import PlacedError
from study.words import Value, format_value

Role = Literal["scientific", "tuned", "fixed"]


class Factor(Strict):
    """What the grid varies: a study compares the values of a scientific factor and picks those of a tuned one.

    Without ``values`` it has no part in the product of all factors and takes them from ``cells``.
    """

    role: Role = Field(
        description="scientific: its values are what the study compares. tuned: the best value is picked by validation "
        "accuracy. fixed: neither."
    )
    values: list[Scalar] = Field(
        [], description="Each is crossed with all values of the other factors; none: it gets its values from cells."
    )


def typed_factors(factors: dict[str, Factor]) -> dict[str, Factor]:
    """Return the factors with their values as the settings have them; raise PlacedError."""
    found = {}
    for name, factor in factors.items():
        if name not in current_class().model_fields:
            typed(name, 0)
        values: dict[Value, None] = {}  # in their order
        for index, given in enumerate(factor.values):
            try:
                value = typed(name, given)
            except PlacedError as error:
                raise PlacedError(error.message, name, "values", index) from None
            if value in values:
                raise PlacedError(f"{format_value(value)} is there twice; remove one", name, "values", index)
            values[value] = None
        found[name] = factor.model_copy(update={"values": list(values)})
    return found


class Rule(Strict):
    """Settings for the cells that match a condition, such as a learning rate that depends on dropout."""

    when: Condition = Field(description="Factors and the values that a cell must have of them.")
    set: Condition = Field(description="Settings that such a cell gets; none of them may be a factor.")


class Contrast(Strict):
    """A comparison named before the run: the sum of the plus cells less that of the minus cells, seed by seed.

    A condition that several cells match stands for the one with the highest mean validation accuracy.
    """

    name: str = Field(description="What the comparison is called in the report.")
    plus: Annotated[list[Condition], Field(min_length=1)] = Field(description="Cells whose accuracies are added.")
    minus: Annotated[list[Condition], Field(min_length=1)] = Field(
        description="Cells whose accuracies are subtracted, as many as plus has."
    )

    @model_validator(mode="after")
    def _balanced(self) -> "Contrast":
        if len(self.plus) != len(self.minus):
            raise PlacedError(
                f"contrast {self.name!r} has {len(self.plus)} plus and {len(self.minus)} minus cells: expected as many"
            )
        return self


class Stopping(Strict):
    """When ASHA stops a cell (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020)."""

    scheduler: Literal["asha", "none"] = Field(
        "asha",
        description="asha stops cells that do badly beside others of their stratum; none stops none.",
    )
    grace_period: Count = Field(20, ge=1, description="The first epoch at which a cell may be stopped.")
    reduction_factor: Count = Field(
        2, ge=2, description="Of the cells of a stratum that reach a rung, about one in so many goes on."
    )
    protect: list[Condition] = Field(
        [], description="Cells that match one of these are never stopped, and set no bar to others."
    )
