"""What there is: grids, shipped ones and one's own, and the studies of a storage."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from study.grid import Grid, format_value, grid_names, load_grid, read_grid
from study.gridschema import grid_schema, schema_path


def show_grids(console: Console, as_json: bool) -> None:
    """List the shipped grids."""
    grids = list(map(load_grid, grid_names()))
    if as_json:
        console.print_json(data=[_described(grid) for grid in grids], indent=1)
        return
    table = Table("grid", "cells", "seeds", "trials", "what it is", box=None, header_style="bold")
    for grid in grids:
        cells = len(grid.cells())
        table.add_row(grid.name, str(cells), str(grid.seeds), str(cells * grid.seeds), grid.description)
    console.print(table)


def _described(grid: Grid) -> dict[str, Any]:
    cells = len(grid.cells())
    return {
        "name": grid.name,
        "description": grid.description,
        "cells": cells,
        "seeds": grid.seeds,
        "trials": cells * grid.seeds,
        "roles": grid.roles,
    }


def show_grid(name: str, console: Console, cells: bool, as_json: bool) -> None:
    """Print the file of a grid as it is, or its cells; raise GridError for one that cannot be used."""
    grid = load_grid(name)
    path, text = read_grid(name)
    if as_json:
        described = [{"cell_id": cell.cell_id, **cell.model_dump()} for cell in grid.cells()]
        console.print_json(data={**_described(grid), "path": path, "cells": described}, indent=1)
    elif cells:
        table = Table("cell", *grid.roles, box=None, header_style="bold")
        for cell in grid.cells():
            table.add_row(cell.cell_id, *(format_value(getattr(cell, name)) for name in grid.roles))
        console.print(table)
    elif console.is_terminal:
        console.print(Syntax(text, "yaml", theme="ansi_dark", background_color="default"))
    else:
        print(text, end="")  # a grid file again, byte for byte


def show_schema(path: bool, model: str) -> None:
    """Print the JSON Schema of grid files, or where it is."""
    print(schema_path() if path else json.dumps(grid_schema(model), indent=1))


def show_studies(storage: str, console: Console, as_json: bool) -> None:
    """List the studies of a storage with their trials by status."""
    from study.screen import tell_problem

    studies = list(count_trials(storage))
    for study in studies:
        for file in study["unreadable"]:
            tell_problem(f"{study['study']}: {file} cannot be read; run the study again to restore it")
    if as_json:
        console.print_json(data=studies, indent=1)
        return
    if not studies:
        console.print(f"No study in {storage}; begin one with: study run --grid table1", soft_wrap=True)
        return
    counted = ("finished", "pruned", "failed", "missing")
    table = Table("study", "grid", "cells", *counted, box=None, header_style="bold")
    for study in studies:
        table.add_row(study["study"], study["grid"], str(study["cells"]), *(str(study[how]) for how in counted))
    console.print(table)


def count_trials(storage: str) -> Iterator[dict[str, Any]]:
    """Yield what is told of each study of a storage."""
    from study.rows import FINISHED
    from study.store import Store, study_names

    for name in study_names(storage):
        store = Store(storage, name)
        info = store.read_info() or {}
        rows, unreadable = store.read_trials("status")
        status = Counter("finished" if row["status"] in FINISHED else row["status"] for row in rows)
        cells, seeds = len(info["cells"]), len(info["seeds"])
        counts = {how: status[how] for how in ("finished", "pruned", "failed")}
        yield (
            {"study": name, "grid": info["grid"], "cells": cells, "seeds": seeds}
            | counts
            | {
                "missing": cells * seeds - len(rows),
                "unreadable": unreadable,
            }
        )
