"""What a shell completes: names of grids and studies. It has to be quick, so it imports little."""

import os
from pathlib import Path

import typer

from study.grid.shipped import grid_names


def complete_grid(incomplete: str) -> list[str]:
    """Return the shipped grids and the grid files of the working directory."""
    # A shell completes other paths by itself.
    files = sorted(str(path) for path in Path().glob("*.y*ml"))
    return [name for name in [*grid_names(), *files] if name.startswith(incomplete)]


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of a storage that is a folder."""
    storage = context.params.get("storage") or ""
    if "://" in storage:  # a bucket would keep the shell waiting
        return []
    folders = Path(os.path.expanduser(storage)).glob("*/study.json")  # noqa: PTH111, no error for another's home
    names = sorted(path.parent.name for path in folders)
    return [name for name in names if name.startswith(incomplete) and name.isprintable()]
