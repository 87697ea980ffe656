"""Where results come from: code, packages, data and machine of a run."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainables.config import TrainingSettings
from trainables.registry import data_identity, packages_of

PACKAGES = ("digit-comparator-study", "torch", "ray", "numpy", "pandas", "pyarrow")


def describe_run(cells: Iterable[TrainingSettings]) -> dict[str, Any]:
    """Describe a run of cells that starts now as plain JSON values."""
    models = {cell.model: cell for cell in cells}
    needed = set[str]().union(*map(packages_of, models.values()))
    packages = [*PACKAGES, *sorted(needed.difference(PACKAGES))]
    versions = dict(zip(packages, map(version, packages), strict=True))
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_of(Path(__file__).parents[2]),
        "packages": {"python": platform.python_version()} | versions,
        **_identities(models),
        "machine": {"system": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()},
    }


def _identities(models: Mapping[str, TrainingSettings]) -> dict[str, Any]:
    """Return what identifies the data or code of the models: one value, or if they differ one for each model."""
    found: dict[str, dict[str, str]] = {}
    for model, cell in models.items():
        for name, value in data_identity(cell).items():
            found.setdefault(name, {})[model] = value
    return {name: next(iter(of.values())) if len({*of.values()}) == 1 else of for name, of in found.items()}


def commit_of(folder: Path) -> str | None:
    """Return the commit of a git work tree, with ``-dirty`` if it has changes; else None."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        # There is no git here, or the folder belongs to someone else: the commit is unknown.
        return None


def _processor() -> str:
    # platform.processor() knows the name only outside of Linux.
    with suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
