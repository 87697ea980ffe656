"""Where results come from: code, packages, data and machine of a run."""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainables.config import TrainingSettings
from trainables.identity import code_id, made_by, packages_of

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
        "code_id": code_ids(models.values()),
        "data_sha256": _by_model({model: made_by(cell)["data_sha256"] for model, cell in models.items()}),
        "machine": {"system": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()},
    }


def code_ids(cells: Iterable[TrainingSettings]) -> Any:
    """Return what identifies the code of some cells, as ``_by_model`` does."""
    return _by_model({cell.model: code_id(cell.model) for cell in cells})


def _by_model(values: dict[str, Any]) -> Any:
    """Return one value if all models have the same, otherwise one for each model."""
    return values if len({*values.values()}) > 1 else next(iter(values.values()))


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
