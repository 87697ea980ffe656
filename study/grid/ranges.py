"""``search:`` of a grid file: the ranges of the settings that are searched, and when the search ends."""

import itertools
from collections.abc import Iterator
from math import floor, isfinite, log10, sqrt
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from study.grid.values import Count, Scalar, Strict, current_class, typed
from study.grid.yaml_text import PlacedError
from study.words import Value, format_value

DIGITS = 3  # of a suggested number: more would make cells unreadable, and differ in nothing that can be measured
MOST_ENDS = 4096  # combinations of the ranges' ends that are looked at


class Range(Strict):
    """The values that a search may give a setting: numbers from low to high, or choices."""

    low: Scalar | None = Field(None, description="The least value.")
    high: Scalar | None = Field(None, description="The greatest value, which may be reached.")
    log: bool = Field(False, description="Whether 1 to 10 gets as many cells as 10 to 100.")
    step: Scalar | None = Field(None, description="Only low, low + step, low + 2 step, ...; high must be one of them.")
    choices: list[Scalar] | None = Field(None, description="These values, in place of low and high.", min_length=2)

    @model_validator(mode="after")
    def _numbers_or_choices(self) -> "Range":
        ends = (self.low, self.high)
        if (self.choices is None) == (ends == (None, None)) or (None in ends and ends != (None, None)):
            raise PlacedError("expected low and high, or choices")
        if self.choices is not None and (self.log or self.step is not None):
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
        """What is halfway between the ends, or the first choice."""
        if self.choices is not None:
            return self.choices[0]
        low, high = self.ends
        return self.rounded(sqrt(low) * sqrt(high) if self.log else low / 2 + high / 2)

    def rounded(self, value: Any) -> Any:
        """Return the nearest value that the search gives: of a range without step, one with few DIGITS."""
        if self.choices is not None:
            return value
        low, high = self.ends
        if isinstance(low, int) or self.step is not None:
            step: Any = self.step or 1
            value = low + round((value - low) / step) * step
            return value if isinstance(low, int) else round(value, 12)  # 0.1 + 2 * 0.1 is 0.30000000000000004
        digits = DIGITS - 1 - floor(log10(value if self.log else high - low))
        return min(max(round(value, digits), low), high)

    def holds(self, value: Any) -> bool:
        """Tell whether the search may give the value."""
        if self.choices is not None:
            return value in self.choices
        return self.low <= value <= self.high and (self.step is None or abs(self.rounded(value) - value) < 1e-9)

    def describe(self) -> str:
        """Write the range in words."""
        if self.choices is not None:
            return " or ".join(map(format_value, self.choices))
        step = "" if self.step is None else f" in steps of {format_value(self.step)}"
        return (
            f"{format_value(self.ends[0])} to {format_value(self.ends[1])}{step}{', logarithmic' if self.log else ''}"
        )


def _typed_ranges(ranges: dict[str, Range]) -> dict[str, Range]:
    return {name: _typed_range(name, given) for name, given in ranges.items()}


def _typed_range(name: str, given: Range) -> Range:
    """Return the range with its values as the setting has them; raise PlacedError."""
    if name not in current_class().model_fields:
        typed(name, 0)

    def value(of: Any, *at: str | int) -> Any:
        try:
            return typed(name, of)
        except PlacedError as error:
            raise PlacedError(error.message, name, *at) from None

    if given.choices is not None:
        choices: list[Any] = []
        for index, choice in enumerate(given.choices):
            choices.append(value(choice, "choices", index))
            if choices[-1] in choices[:-1]:
                raise PlacedError(f"{format_value(choice)} is there twice; remove one", name, "choices", index)
        return given.model_copy(update={"choices": choices})
    low, high = (value(end, what) for what, end in (("low", given.low), ("high", given.high)))
    if isinstance(low, bool | str):
        raise PlacedError("a range is of numbers; give this setting choices", name, "low")
    if not (low < high and isfinite(high - low)):
        raise PlacedError(f"expected more than low, {format_value(low)}, not {format_value(high)}", name, "high")
    if given.log and low <= 0:
        raise PlacedError(f"a range with log begins above 0, not at {format_value(low)}", name, "low")
    step = None if given.step is None else _typed_step(given.step, low, high, name)
    return given.model_copy(update={"low": low, "high": high, "step": step})


def _typed_step(step: Any, low: Any, high: Any, name: str) -> Any:
    whole = isinstance(low, int)
    if isinstance(step, bool | str) or not 0 < step <= high - low or (whole and step != int(step)):
        kind = "whole number" if whole else "number"
        raise PlacedError(f"expected a {kind} above 0, not {format_value(step)}", name, "step")
    count = (high - low) / step
    if not isfinite(count) or abs(count - round(count)) > 1e-9 * count:
        steps = f"steps of {format_value(step)} from {format_value(low)}"
        raise PlacedError(f"{steps} do not reach {format_value(high)}", name, "step")
    return type(low)(step)


class Budget(Strict):
    """When no further cell is begun."""

    trainings: Count | None = Field(None, ge=1, description="Trainings in all, a cell's seeds each counted.")
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Minutes in which cells train, of all runs together."
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> "Budget":
        if self.trainings is None and self.minutes is None:
            raise PlacedError("expected trainings, minutes or both")
        return self

    def cells(self, seeds: int) -> int | None:
        """Return how many cells of so many seeds may be begun, or None where time alone says so."""
        return None if self.trainings is None else self.trainings // seeds

    def describe(self) -> str:
        """Write the budget in words."""
        limits = [f"{self.trainings} trainings"] if self.trainings else []
        limits += [f"{self.minutes:g} minutes"] if self.minutes else []
        return " or ".join(limits)


class Search(Strict):
    """Cells that Optuna suggests, one after another, for the highest mean validation accuracy over seeds."""

    ranges: Annotated[dict[str, Range], AfterValidator(_typed_ranges), Field(min_length=1)] = Field(
        description="What is searched: settings, each with low and high, or choices."
    )
    budget: Budget = Field(description="When the search ends.")
    seed: Count = Field(0, ge=0, description="Of the sampler's random numbers.")
    startup: Count = Field(10, ge=1, description="Cells that are drawn at random before the others are learned from.")

    def ends(self) -> Iterator[dict[str, Value]]:
        """Yield the combinations of the ranges' ends, the first MOST_ENDS of them."""
        values = [given.ends for given in self.ranges.values()]
        for chosen in itertools.islice(itertools.product(*values), MOST_ENDS):
            yield dict(zip(self.ranges, chosen, strict=True))
