"""``search:`` of a grid file: the ranges of what is searched, and when the search ends."""

import itertools
from collections.abc import Iterator
from math import floor, isfinite, log10, sqrt
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from study.grid import MOST_TRIALS
from study.grid.values import Count, Models, Scalar, Strict, check_factor, context_models, entry, typed, typed_values
from study.grid.yaml_text import PlacedError
from study.words import Value, format_value

DIGITS = 3  # of a suggested number: more are hard to read and make no measurable difference
MOST_ENDS = 4096  # how many combinations of the ranges' ends are checked


class Range(Strict):
    """The values that a search may give to a setting: numbers from low to high, or choices."""

    low: Scalar | None = Field(None, description="The smallest value.")
    high: Scalar | None = Field(None, description="The largest value; the search may give it too.")
    log: bool = Field(False, description="Whether 1 to 10 is as wide as 10 to 100: a logarithmic scale.")
    step: Scalar | None = Field(None, description="Only low, low + step, low + 2 step and so on, up to high.")
    choices: list[Scalar] | None = Field(None, description="Values, instead of low and high.", min_length=2)

    @model_validator(mode="after")
    def _numbers_or_choices(self) -> "Range":
        has_choices = self.choices is not None
        if (self.low, self.high).count(None) != (2 if has_choices else 0):
            raise PlacedError("expected low and high, or choices")
        if has_choices and (self.log or self.step is not None):
            raise PlacedError("choices have neither log nor step; remove it", "log" if self.log else "step")
        if self.log and self.step is not None:
            raise PlacedError("a range with log has no step; remove one of them", "step")
        return self

    @property
    def ends(self) -> list[Any]:
        """Both ends, or all choices."""
        return [self.low, self.high] if self.choices is None else self.choices

    @property
    def middle(self) -> Any:
        """The value halfway between the ends, or the first choice."""
        if self.choices is not None:
            return self.choices[0]
        low, high = self.ends
        # A product or a sum of both ends might overflow.
        return self.rounded(sqrt(low) * sqrt(high) if self.log else low / 2 + high / 2)

    def rounded(self, value: Any) -> Any:
        """Return the nearest value that the search gives, of DIGITS digits without a step."""
        if self.choices is not None:
            return value
        low, high = self.ends
        if isinstance(low, int) or self.step is not None:
            step: Any = self.step or 1
            value = low + round((value - low) / step) * step
            # 0.1 + 2 * 0.1 is 0.30000000000000004.
            return value if isinstance(low, int) else round(value, 12)
        # Digits count from the first one of the value, or, on a linear scale, of the range's width.
        digits = DIGITS - 1 - floor(log10(value if self.log else high - low))
        return min(max(round(value, digits), low), high)

    def holds(self, value: Any) -> bool:
        """Tell whether the search may give the value."""
        if self.choices is not None:
            return value in self.choices
        on_a_step = self.step is None or abs(self.rounded(value) - value) < 1e-9
        return self.low <= value <= self.high and on_a_step

    def describe(self) -> str:
        """Write the range in words."""
        if self.choices is not None:
            return " or ".join(map(format_value, self.choices))
        low, high = self.ends
        text = f"{format_value(low)} to {format_value(high)}"
        if self.step is not None:
            text += f" in steps of {format_value(self.step)}"
        return f"{text}, logarithmic" if self.log else text


def _typed_ranges(ranges: dict[str, Range], info: ValidationInfo) -> dict[str, Range]:
    return {name: _typed_range(context_models(info), name, given) for name, given in ranges.items()}


def _typed_range(models: Models, name: str, given: Range) -> Range:
    """Return the range with its values as the setting has them; raise PlacedError."""
    check_factor(models, name)
    if given.choices is not None:
        return given.model_copy(update={"choices": typed_values(models, name, given.choices, "choices")})
    low: Any = typed(models, name, given.ends[0], "low")
    high: Any = typed(models, name, given.ends[1], "high")
    if isinstance(low, bool | str):
        raise PlacedError("a range is of numbers; give this setting choices", name, "low")
    if not (low < high and isfinite(high - low)):
        problem = f"expected more than low, {format_value(low)}, not {format_value(high)}"
        raise PlacedError(problem, name, "high")
    if given.log and low <= 0:
        raise PlacedError(f"a range with log begins above 0, not at {format_value(low)}", name, "low")
    step = None if given.step is None else _typed_step(given.step, low, high, name)
    return given.model_copy(update={"low": low, "high": high, "step": step})


def _typed_step(step: Any, low: Any, high: Any, name: str) -> Any:
    whole = isinstance(low, int)
    if isinstance(step, bool | str) or not 0 < step <= high - low or (whole and step != int(step)):
        kind = "whole number" if whole else "number"
        raise PlacedError(f"expected a {kind} above 0, not {format_value(step)}", name, "step")
    # As many steps as fit must end at high; a quotient of floats is whole only nearly.
    count = (high - low) / step
    if not isfinite(count) or abs(count - round(count)) > 1e-9 * count:
        steps = f"steps of {format_value(step)} from {format_value(low)}"
        raise PlacedError(f"{steps} do not reach {format_value(high)}", name, "step")
    return type(low)(step)


class Budget(Strict):
    """When the search begins no further cell."""

    trainings: Count | None = Field(
        None, ge=1, le=MOST_TRIALS, description="How many trainings: one per cell and seed."
    )
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="How many minutes cells train, over all runs."
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> "Budget":
        if self.trainings is None and self.minutes is None:
            raise PlacedError("expected trainings, minutes or both")
        return self

    def cells(self, seeds: int) -> int | None:
        """Return how many cells of so many seeds may begin; None if only time limits them."""
        return None if self.trainings is None else self.trainings // seeds

    def describe(self) -> str:
        """Write the budget in words."""
        trainings = f"{self.trainings} trainings" if self.trainings else ""
        minutes = f"{self.minutes:g} minutes" if self.minutes else ""
        return " or ".join(filter(None, (trainings, minutes)))


class Search(Strict):
    """Cells that Optuna suggests one after another, for the best mean of the objective."""

    ranges: Annotated[dict[str, Range], AfterValidator(_typed_ranges), Field(min_length=1)] = Field(
        description="The settings that are searched, each with low and high, or with choices."
    )
    budget: Budget = Field(description="When the search ends.")
    seed: Count = Field(0, ge=0, lt=2**32, description="The seed of the sampler's random numbers.")
    startup: Count = Field(10, ge=1, description="How many cells are drawn at random before Optuna learns.")

    def ends(self) -> Iterator[dict[str, Value]]:
        """Yield the combinations of the ranges' ends, the first MOST_ENDS of them."""
        values = [given.ends for given in self.ranges.values()]
        for chosen in itertools.islice(itertools.product(*values), MOST_ENDS):
            yield dict(zip(self.ranges, chosen, strict=True))


def add_searched_factors(content: Any, models: Models) -> Any:
    """Return the content with tuned factors for what it searches; raise PlacedError if one is there."""
    # These factors have no values. What is malformed is reported later.
    ranges = entry(content, "search", "ranges")
    factors = content.get("factors", {}) if isinstance(ranges, dict) else None
    if not isinstance(factors, dict):
        return content
    for name in ranges:
        if name in factors:
            raise PlacedError("it is searched, so it has no values; remove it here or there", "factors", name)
    # What only some models have is reported with its range.
    known = set[str]().union(*(cls.model_fields for cls in models.values()))
    searched = {name: {"role": "tuned"} for name in ranges if name in known}
    return content | {"factors": factors | searched}
