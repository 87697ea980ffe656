"""The parts of a grid file: factors, rules, contrasts, and when a cell may be stopped."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from study.grid import MAX_SEEDS, MOST_CONDITIONS
from study.grid.values import Condition, Count, Scalar, Strict, check_factor, context_models, typed_values
from study.grid.yaml_text import PlacedError

Role = Literal["scientific", "tuned", "fixed"]


class Factor(Strict):
    """A setting that the grid varies.

    A study compares the values of a scientific factor, and picks the best value of a tuned one. A
    factor without ``values`` is not part of the product: its values are those of ``cells``.
    """

    role: Role = Field(
        description="scientific: the study compares its values. tuned: the value with the best mean "
        "of the objective on the validation part is picked. fixed: neither."
    )
    values: list[Scalar] = Field(
        [],
        description="Each is combined with all values of the other factors. Without values, the "
        "factor has those that cells give it.",
    )


def typed_factors(factors: dict[str, Factor], info: ValidationInfo) -> dict[str, Factor]:
    """Return the factors with their values as the settings have them; raise PlacedError."""
    models = context_models(info)
    found = {}
    for name, factor in factors.items():
        check_factor(models, name)
        values = typed_values(models, name, factor.values, "values")
        found[name] = factor.model_copy(update={"values": values})
    return found


class Rule(Strict):
    """Settings for the cells that match a condition, such as a learning rate that depends on dropout."""

    when: Condition = Field(description="Factors, each with the value that a cell must have.")
    set: Condition = Field(description="Settings that such a cell gets. None of them may be a factor.")


class Contrast(Strict):
    """A comparison named before the run: the sum of the plus cells minus that of the minus cells.

    It is made seed by seed. If several cells match a condition, the one with the best mean of the
    objective on the validation part is taken.
    """

    name: str = Field(description="The name of the comparison in the report.")
    plus: Annotated[list[Condition], Field(min_length=1)] = Field(description="Cells whose results are added.")
    minus: Annotated[list[Condition], Field(min_length=1)] = Field(
        description="Cells whose results are subtracted. There are as many as in plus."
    )

    @model_validator(mode="after")
    def _balanced(self) -> "Contrast":
        plus, minus = len(self.plus), len(self.minus)
        if plus != minus:
            has = f"contrast {self.name!r} has {plus} plus and {minus} minus cells"
            raise PlacedError(f"{has}: expected the same number")
        return self


class Replicate(Strict):
    """As many seeds as it takes: at which numbers of seeds contrasts may be decided, and by what margin."""

    looks: Annotated[list[Count], Field(min_length=1)] = Field(
        description="Numbers of seeds in ascending order, the first that of all cells. At each, and at no other, the "
        "contrasts may be decided; cells of those that are not decided get the seeds of the next look."
    )
    margin: float = Field(
        gt=0, description="The largest difference that counts as none, in the unit of the objective, such as points."
    )
    alpha: float = Field(
        0.05, gt=0, le=0.5, description="The chance that any contrast without an effect is said to have one."
    )

    @model_validator(mode="after")
    def _ascending(self) -> "Replicate":
        if self.looks != sorted(set(self.looks)) or not 2 <= self.looks[0] <= self.looks[-1] <= MAX_SEEDS:
            raise PlacedError(f"expected numbers of seeds in ascending order, from 2 to {MAX_SEEDS:,}", "looks")
        return self


class Stopping(Strict):
    """When ASHA stops a cell: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020)."""

    scheduler: Literal["asha", "none"] = Field(
        "asha",
        description="asha: stop cells that fall behind the others of their stratum. none: stop no cell.",
    )
    grace_period: Count = Field(20, ge=1, description="The first epoch at which a cell may be stopped.")
    reduction_factor: Count = Field(
        2, ge=2, description="At each rung, about one in this number of a stratum's cells goes on."
    )
    protect: list[Condition] = Field(
        [],
        max_length=MOST_CONDITIONS,
        description="Cells that match one of these are never stopped, and no cell is compared with them.",
    )
