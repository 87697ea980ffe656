"""What a shell completes: names of grids and studies. It has to answer at once, so that nothing heavy is imported."""

from pathlib import Path

import typer

from study.grid.shipped import grid_names


def complete_grid(incomplete: str) -> list[str]:
    """Return the shipped grids and the grid files of the working directory; a shell completes other paths itself."""
    files = sorted(str(path) for path in Path().glob("*.y*ml"))
    return [name for name in [*grid_names(), *files] if name.startswith(incomplete)]


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of the storage, where that is a folder: a bucket would keep the shell waiting."""
    storage = context.params.get("storage") or ""
    if "://" in storage:
        return []
    names = sorted(path.parent.name for path in Path(storage).expanduser().glob("*/study.json"))
    return [name for name in names if name.startswith(incomplete)]
