"""Models by name: their classes, the settings of their cells, and what they need."""

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trainables.config import CellSettings, ImportedSettings, TrainableError, TrainingSettings
from trainables.digits.settings import CellConfig
from trainables.functions.signature import settings_of

if TYPE_CHECKING:  # PyTorch takes a second to import, and a grid can be checked without it
    import torch

    from trainables.engine.model import Model
    from trainables.engine.training import Training

BUILT_IN = {
    "comparator": "trainables.digits.comparator:Comparator",
    "classifier": "trainables.digits.classifier:Classifier",
}
TRY_OUT_LIMIT_S = 600.0  # for one epoch of one seed of a function


class ModelError(TrainableError):
    """A model that cannot be used: one line with its name, what was expected, and the fix."""


def build(settings: TrainingSettings) -> "Model":
    """Return the stacked model of a cell; raise ModelError."""
    from torch import nn

    from trainables.engine.stacked_module import StackedModule

    found = find_model(settings.model)
    try:
        if issubclass(found, nn.Module):
            return cast("Model", StackedModule(found, cast(CellSettings, settings)))
        return cast("Model", found(settings))
    except ValueError as error:
        raise ModelError(f"model {settings.model}: {error}") from None


def start_training(
    cells: Mapping[TrainingSettings, Sequence[int]],
    pool: Any,
    device: "torch.device | str" = "cpu",
    idle_share: float = 0.0,
) -> "Training":
    """Return the ``Training`` of cells; raise ValueError as it does, and ModelError."""
    from trainables.engine.training import Training, check_stack

    stacked = cast("Mapping[CellSettings, Sequence[int]]", cells)
    return Training(build(check_stack(stacked)), stacked, pool, device, idle_share)


def hide_gpus() -> None:
    """Let this process see no GPU: Ray leaves all visible to a worker that asked for none, and a function may look."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def settings_class(model: str) -> type[TrainingSettings]:
    """Return the class of the settings of a model's cells; raise ModelError."""
    if model in BUILT_IN:
        return CellConfig
    if model == "imported":
        return ImportedSettings
    return settings_of(find_model(model)) if is_function(model) else find_model(model).Settings


def is_function(model: str) -> bool:
    """Whether a model is a function, and not a class; raise ModelError."""
    return not inspect.isclass(find_model(model))


def default_settings() -> type[TrainingSettings]:
    """Return the class of the settings of cells that name no model."""
    return CellConfig


def read_cell(settings: Mapping[str, Any]) -> TrainingSettings:
    """Return a cell by its settings, as ``model_dump`` of it gives them; raise ModelError."""
    found = settings_class(settings["model"]) if "model" in settings else default_settings()
    return found.model_validate(settings)


def check(cells: Iterable[TrainingSettings], data_dir: str | None) -> None:
    """Build every cell's model and draw one seed's examples; raise ModelError or DataError.

    A user's model also takes a step, so that its errors are found here and not by a worker. A
    function is not tried, since one epoch may take long; ``try_functions`` does that.
    """
    pools: dict[str, Any] = {}  # of each model once: loading may be slow
    for cell in cells:
        if is_function(cell.model):
            continue
        try:
            model = build(cell)
            first = cell.model not in pools
            if first:
                pools[cell.model] = model.load(cell, data_dir)
            if cell.model in BUILT_IN:
                model.draw(pools[cell.model], cell, 0)
            else:
                from trainables.try_stack import try_stack

                try_stack(model, pools[cell.model], cast(CellSettings, cell), repeat=first)
        except TrainableError:
            raise
        except Exception as error:  # whatever the author's own code raises
            raise ModelError(f"model {cell.model}{_in_words(error, cell.model)}") from error


def try_functions(cells: Iterable[TrainingSettings], objective: str) -> None:
    """Train one epoch of two seeds with each model that is a function; raise ModelError.

    ``objective`` is the figure that early stopping goes by, such as "val_rmse".
    """
    first_cells: dict[str, TrainingSettings] = {}
    for cell in cells:
        if is_function(cell.model):
            first_cells.setdefault(cell.model, cell)
    for model, cell in first_cells.items():
        from trainables.functions.seed_training import Limits
        from trainables.functions.try_out import try_out

        try:
            try_out(find_model(model), cell, Limits(objective, TRY_OUT_LIMIT_S))
        except ValueError as error:
            raise ModelError(f"model {model}: {error}") from None


def _in_words(error: Exception, model: str) -> str:
    """Return where an error comes from in the model's own file, and its first line."""
    source = _source_file(model)
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(source)]
    place = f" ({source.name}, line {lines[-1]})" if lines else ""
    text = (str(error).strip() or "no message").splitlines()[0]
    return f"{place}: {text}" if isinstance(error, ValueError) else f"{place}: {type(error).__name__}: {text}"


def describe_network(cell: TrainingSettings) -> dict[str, Any] | None:
    """Return a cell's network as plain data, for a diagram; None for a model without one."""
    if not isinstance(cell, CellConfig):
        return None
    from trainables.digits import network_diagram

    return network_diagram.describe_network(cell)


def _source_file(model: str) -> Path:
    return Path(inspect.getfile(inspect.unwrap(find_model(model))))


def package_of(model: str) -> str:
    """Return the folder of the package, or the file of the module, of a model."""
    top = sys.modules[find_model(model).__module__.partition(".")[0]]
    return str(Path(str(top.__file__)).parent if hasattr(top, "__path__") else top.__file__)


@cache
def find_model(model: str) -> Any:
    """Return the class or function of a name; raise ModelError if it is not a model."""
    module, colon, name = BUILT_IN.get(model, model).partition(":")
    if not (colon and module and name):
        raise ModelError(
            f"model {model!r}: expected {', '.join(BUILT_IN)}, package.module:Class, or package.module:function"
        )
    # Models are found in the folder where a command is run, as with `python -m`. It comes
    # last in the path, since a file there may have the name of an installed package.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever the author's own code raises
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}.")
        fix = "run the command in its folder, or install it" if absent else "correct it, or install what it needs"
        raise ModelError(f"model {model}: cannot import {module} ({what}); {fix}") from error
    if inspect.isfunction(found):
        try:
            settings_of(found)
        except ValueError as error:
            raise ModelError(f"model {model}: {error}") from None
    elif inspect.isclass(found):
        _check_class(model, found)
    else:
        near = difflib.get_close_matches(name, vars(sys.modules[module]), 1)
        fix = f"; did you mean {near[0]}?" if near else ""
        raise ModelError(f"model {model}: the module {module} has no class or function {name}{fix}")
    return found


def _check_class(model: str, found: Any) -> None:
    missing = [what for what in ("Settings", "load", "draw") if not hasattr(found, what)]
    settings = getattr(found, "Settings", None)
    if missing or not (inspect.isclass(settings) and issubclass(settings, CellSettings)):
        found_instead = f"it has no {', '.join(missing)}" if missing else "Settings is not such a class"
        raise ModelError(
            f"model {model}: expected Settings (a subclass of trainables.CellSettings), load and draw, as described in "
            f"trainables/engine/model.py; {found_instead}"
        )
