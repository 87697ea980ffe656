"""What a function yields, read as numbers."""

import difflib
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from trainables.config import TrainingSettings, columns_of

LOSSES_AND_RATE = ("train_loss", "val_loss", "learning_rate")


class YieldError(ValueError):
    """A yield that cannot be read: one line that names the figure and what was expected."""


def read_figures(yielded: Any, settings: type[TrainingSettings]) -> tuple[dict[str, float], int | None]:
    """Return the figures of a yield, by name, and its ``epoch`` if it says one; raise YieldError.

    A value is a number of Python or NumPy, or an array or tensor of one element. One that is
    not finite becomes NaN, which is missing.
    """
    if not isinstance(yielded, Mapping):
        example = f"{{'val_{settings.metrics[0].name}': 0.5}}"
        raise YieldError(f"a yield is of type {type(yielded).__name__}: expected a mapping such as {example}")
    known = (*columns_of(settings.metrics, "train", "val", "test"), *LOSSES_AND_RATE, "epoch")
    figures, epoch = {}, None
    for name, value in yielded.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(known)}"
            raise YieldError(f"a yield has the figure {name!r}, which is not known; {hint}")
        number = _plain(name, value)
        if name == "epoch":
            if not isinstance(number, Integral):
                raise YieldError(f"epoch is {number!r}: expected a whole number, 1 for the first epoch")
            epoch = int(number)
        elif isinstance(number, Real):
            figures[name] = float(number) if math.isfinite(number) else math.nan
        else:
            raise YieldError(f"{name} is of type {type(number).__name__}: expected a number")
    return figures, epoch


def _plain(name: str, value: Any) -> Any:
    """Return a value that is not in an array or tensor."""
    if not hasattr(value, "item"):
        return value
    shape = tuple(getattr(value, "shape", ()))
    if math.prod(shape) != 1:
        raise YieldError(f"{name} is a {type(value).__name__} of shape {list(shape)}: expected one number")
    return value.item()
