"""What one cell's training is. Imports neither study nor analysis.

The author of a model imports from here. The names are loaded when they are first used, so that
importing this package, or a module of it that does without PyTorch, does not load PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.config import CellSettings, Draw, FunctionSettings, Metric
    from trainables.engine.examples import Examples, Split, split_examples
    from trainables.functions.random_states import get_random_states, set_random_states

__all__ = [
    "CellSettings",
    "Draw",
    "Examples",
    "FunctionSettings",
    "Metric",
    "Split",
    "get_random_states",
    "set_random_states",
    "split_examples",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "config" if name in ("CellSettings", "Draw", "FunctionSettings", "Metric") else "engine.examples"
    module = "functions.random_states" if name.endswith("_random_states") else module
    return getattr(importlib.import_module(f"trainables.{module}"), name)
