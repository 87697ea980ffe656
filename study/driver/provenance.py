"""Where results come from: code, packages, data and machine of a run."""

import ast
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from trainables.config import CellSettings
from trainables.digits.mnist import data_sha256
from trainables.digits.settings import CellConfig
from trainables.registry import source_file, source_sha256

PACKAGES = ("digit-comparator-study", "torch", "ray", "numpy", "pandas", "pyarrow")


def describe_run(cell: CellSettings) -> dict[str, Any]:
    """Describe a run that starts now as plain JSON values; ``cell`` is one of those that it trains."""
    if isinstance(cell, CellConfig):
        source, others = {"data_sha256": data_sha256(cell.data)}, {"mlxtend"}
    else:
        source, others = {"model_sha256": source_sha256(cell.model)}, _imported_by(source_file(cell.model))
    packages = [*PACKAGES, *sorted(others.difference(PACKAGES))]
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_of(Path(__file__).parents[2]),
        "packages": {"python": platform.python_version()} | {name: version(name) for name in packages},
        **source,
        "machine": {"system": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()},
    }


def _imported_by(file: Path) -> set[str]:
    """Return the packages, by the names under which they are installed, that a Python file imports."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module)
    installed = packages_distributions()
    return {package for module in modules for package in installed.get(module.partition(".")[0], ())}


def commit_of(folder: Path) -> str | None:
    """Return the commit of a git work tree, ``-dirty`` added when it has changes; None where it is none."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (
        OSError,
        subprocess.CalledProcessError,
    ):  # no git here, or not its work tree: the commit is unknown
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
