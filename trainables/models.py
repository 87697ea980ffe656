"""Which class a model's name stands for, and which settings its cells have."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trainables.config import CellConfig, CellSettings

if TYPE_CHECKING:  # PyTorch takes a second to import, and names can be checked without
    from trainables.model import Model

REPORTED = {"comparator": "trainables.comparator:Comparator", "classifier": "trainables.classifier:Classifier"}


class ModelError(Exception):
    """A model that cannot be used: one line with its name, what was expected, and the fix."""


def build(settings: CellSettings) -> "Model":
    """Return the stacked model of a cell; raise ModelError."""
    from torch import nn

    from trainables.modules import StackedModule

    found = model_class(settings.model)
    try:
        if issubclass(found, nn.Module):
            return cast("Model", StackedModule(found, settings))
        model: Model = found(settings)
    except ValueError as error:
        raise ModelError(f"model {settings.model}: {error}") from None
    return model


def settings_class(model: str) -> type[CellSettings]:
    """Return the class of the settings of a model's cells; raise ModelError."""
    settings: type[CellSettings] = CellConfig if model in REPORTED else model_class(model).Settings
    return settings


def read_cell(settings: Mapping[str, Any]) -> CellSettings:
    """Return a cell by its settings, as ``model_dump`` of it gives them; raise ModelError."""
    return settings_class(settings.get("model", CellConfig.model_fields["model"].default)).model_validate(settings)


def check(cells: Iterable[CellSettings], data_dir: str | None) -> None:
    """Build every cell's model and draw a seed's examples of each; raise ModelError or DataError for what fails.

    What is wrong with a model, or with the size of its data, is told here, not by a worker.
    """
    pools: dict[str, Any] = {}
    for cell in cells:
        model = build(cell)
        if cell.model not in pools:
            pools[cell.model] = model.load(cell, data_dir)
        try:
            model.draw(pools[cell.model], cell, 0)
        except ValueError as error:
            raise ModelError(f"model {cell.model}: {error}") from None


def source_sha256(model: str) -> str:
    """Return the SHA-256 (hex) of the file that has a model's class."""
    return hashlib.sha256(Path(inspect.getfile(model_class(model))).read_bytes()).hexdigest()


def package_of(model: str) -> str:
    """Return the folder of the package, or the file of the module, that has a model's class."""
    top = sys.modules[model_class(model).__module__.partition(".")[0]]
    return str(Path(str(top.__file__)).parent if hasattr(top, "__path__") else top.__file__)


@cache
def model_class(model: str) -> Any:
    """Return the class that a name stands for; raise ModelError where there is no such, or it is no model."""
    module, colon, name = REPORTED.get(model, model).partition(":")
    if not (colon and module and name):
        raise ModelError(f"model {model!r}: expected {', '.join(REPORTED)}, or package.module:Class")
    if (here := str(Path.cwd())) not in sys.path:  # where a command is run, as `python -m` has it
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever the author's own code raises
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(
            f"model {model}: cannot import {module} ({what}); run the command in its folder, or install it"
        ) from error
    if not inspect.isclass(found):
        raise ModelError(f"model {model}: the module {module} has no class {name}")
    missing = [what for what in ("Settings", "load", "draw") if not hasattr(found, what)]
    settings = getattr(found, "Settings", None)
    if missing or not (inspect.isclass(settings) and issubclass(settings, CellSettings)):
        raise ModelError(
            f"model {model}: expected Settings (a subclass of trainables.config.CellSettings), load and draw, as "
            f"trainables/model.py says; {'it lacks ' + ', '.join(missing) if missing else 'Settings is no such class'}"
        )
    return found
