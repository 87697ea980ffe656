"""Which code and data make the rows of a cell: rows are comparable only if these are the same."""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from trainables.config import TrainingSettings
from trainables.digits.settings import BITS, CellConfig
from trainables.registry import BUILT_IN, find_model


def made_by(cell: TrainingSettings) -> dict[str, str | None]:
    """Return the columns of a row that say which code and data made it, None if unknown; raise ModelError.

    ``data_sha256`` is that of the built-in data; those of a user's model are known only by its code.
    """
    found: dict[str, str | None] = {"code_id": code_id(cell.model), "data_sha256": None}
    if isinstance(cell, CellConfig):
        from trainables.digits.mnist import data_sha256

        found["data_sha256"] = data_sha256(cell.data)
    return found | {"torch_version": version("torch")}


def code_id_of(row: Mapping[str, Any]) -> str:
    """Return the ``code_id`` of a stored row; rows of before it was recorded have that of the first bits."""
    return row.get("code_id") or ("built-in 1" if row["model"] in BUILT_IN else "not recorded")


@cache
def code_id(model: str) -> str:
    """Return what changes when the code of a model does.

    For the built-in networks that is a number, which is raised when their bits change. For any other
    model it is 12 hex digits of the SHA-256 of its module, and of what it imports from its own package or
    from beside it, as Python parses them: comments and layout do not count.
    """
    if model in BUILT_IN:
        return f"built-in {BITS}"
    digest = hashlib.sha256()
    for name, tree in sorted(own_sources(model).items()):
        digest.update(f"{name} {ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:12]


def own_sources(model: str) -> dict[str, ast.Module]:
    """Return the parsed source of a user's model by module: its own, and what belongs to it of what it imports."""
    module = find_model(model).__module__
    top = module.partition(".")[0]
    folders = list(getattr(sys.modules[top], "__path__", ()))
    root = Path(folders[0] if folders else str(sys.modules[top].__file__)).parent
    # Modules beside the model are its author's, unless they or the model are installed.
    installed = packages_distributions()
    found: dict[str, ast.Module] = {}
    waiting = {module, model.partition(":")[0]}
    while waiting:
        name = waiting.pop()
        first = name.partition(".")[0]
        path = _source_path(root, name)
        if name in found or path is None or (first != top and (first in installed or top in installed)):
            continue
        found[name] = ast.parse(path.read_bytes())
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting.update(imported_modules(found[name], package))
    return found


def _source_path(root: Path, module: str) -> Path | None:
    """Return the file of a module below a folder, or None if there is none."""
    place = root.joinpath(*module.split("."))
    candidates = place.with_name(f"{place.name}.py"), place / "__init__.py"
    return next(filter(Path.is_file, candidates), None)


def imported_modules(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the full name of whatever a module of a ``package`` imports, which may be no module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"


def packages_of(cell: TrainingSettings) -> set[str]:
    """Return the packages, by installed name, that a cell's model needs beside the project."""
    if isinstance(cell, CellConfig):
        return {"mlxtend"}
    # The name in an import need not be that of the package: sklearn comes with scikit-learn.
    installed = packages_distributions()
    found: set[str] = set()
    for name, tree in own_sources(cell.model).items():
        for module in imported_modules(tree, name):
            found.update(installed.get(module.partition(".")[0], ()))
    return found
