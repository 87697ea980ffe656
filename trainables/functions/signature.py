"""What a function has to look like to be a model: ``train(settings: Settings, seed: int)`` that yields."""

import inspect
from collections.abc import Callable
from typing import Any

from trainables.config import FunctionSettings, Metric, columns_of

PARAMETERS = "(settings: Settings, seed: int), and if it can continue a training also checkpoint: Path"


def settings_of(function: Callable[..., Any]) -> type[FunctionSettings]:
    """Return the class of a function's settings, by its first parameter; raise ValueError.

    The function needs a ``yield``, the PARAMETERS, and Settings with metrics.
    """
    if not inspect.isgeneratorfunction(inspect.unwrap(function)):
        raise ValueError("it is no generator: expected a function that yields its figures after each epoch")
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception as error:  # whatever an annotation that is a text evaluates to
        raise ValueError(f"an annotation cannot be read ({error}): import the name where the module runs") from None
    checkpoint: dict[str, Any] = {"checkpoint": None} if takes_checkpoint(function) else {}
    try:
        signature.bind(None, 0, **checkpoint)
    except TypeError:
        raise ValueError(f"its parameters are {signature}: expected {PARAMETERS}") from None
    first, parameter = next(iter(signature.parameters.items()))
    settings = parameter.annotation
    if settings is parameter.empty:
        raise ValueError(f"its parameter {first} has no annotation: expected {PARAMETERS}")
    if not (inspect.isclass(settings) and issubclass(settings, FunctionSettings)):
        found = getattr(settings, "__name__", settings)
        raise ValueError(f"its parameter {first} is a {found}: expected a subclass of trainables.FunctionSettings")
    _check_metrics(settings)
    return settings


def takes_checkpoint(function: Callable[..., Any]) -> bool:
    """Whether a function has the parameter ``checkpoint``, a folder to save in."""
    return "checkpoint" in inspect.signature(function).parameters


def _check_metrics(settings: type[FunctionSettings]) -> None:
    metrics: Any = settings.metrics
    is_tuple = isinstance(metrics, tuple) and all(isinstance(metric, Metric) for metric in metrics)
    if not (is_tuple and metrics):
        example = 'metrics: ClassVar = (Metric("rmse", "min"),)'
        raise ValueError(
            f"metrics of its {settings.__name__} is {metrics!r}: expected a tuple of Metric, as in {example}"
        )
    names = columns_of(metrics, "val")
    if len(set(names)) < len(names):
        raise ValueError(f"its {settings.__name__} has two metrics of one name, in {metrics!r}: expected each once")
