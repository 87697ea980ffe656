"""The commands ``study grids``, ``study grids show`` and ``study grids schema``."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from study.cli.completion import complete_grid
from study.cli.help import epilog
from study.cli.options import AsJson
from study.grid.grid import Grid
from study.grid.json_schema import grid_schema, schema_path
from study.grid.load import load_grid, read_grid
from study.grid.shipped import grid_names
from study.words import format_value

app = typer.Typer()


@app.callback(invoke_without_command=True, epilog=epilog("grids"))
def grids(context: typer.Context, as_json: AsJson = False) -> None:
    """List the shipped grids, or show one."""
    from study.cli.grids import show_grids

    if context.invoked_subcommand is None:
        show_grids(Console(), as_json)


@app.command("show", epilog=epilog("grids show"))
def show_one(
    name: Annotated[str, typer.Argument(help="A shipped grid or a .yaml file.", autocompletion=complete_grid)],
    cells: Annotated[bool, typer.Option("--cells", help="List its cells instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the file of a grid, with its comments: the beginning of one of your own."""
    from study.cli.grids import show_grid

    show_grid(name, Console(), cells, as_json)


@app.command("schema", epilog=epilog("grids schema"))
def schema(
    path: Annotated[bool, typer.Option("--path", help="Print where the one of the report's networks is.")] = False,
    model: Annotated[str, typer.Option(help="Whose settings: of a model of your own, module:Class.")] = "comparator",
) -> None:
    """Print the JSON Schema of grid files, by which editors complete and check them."""
    from study.cli.grids import show_schema

    show_schema(path, model)


def show_grids(console: Console, as_json: bool) -> None:
    """List the shipped grids."""
    grids = list(map(load_grid, grid_names()))
    if as_json:
        console.print_json(data=[_described(grid) for grid in grids], indent=1)
        return
    table = Table("grid", "cells", "seeds", "trials", "what it is", box=None, header_style="bold")
    for grid in grids:
        cells = trials = "by time"  # a search that time alone ends
        if grid.most_cells is not None:
            cells, trials = str(grid.most_cells), str(grid.most_cells * grid.seeds)
        table.add_row(grid.name, cells, str(grid.seeds), trials, grid.description)
    console.print(table)


def _described(grid: Grid) -> dict[str, Any]:
    cells = grid.most_cells
    return {
        "name": grid.name,
        "description": grid.description,
        "cells": cells,
        "seeds": grid.seeds,
        "trials": None if cells is None else cells * grid.seeds,
        "roles": grid.roles,
        "search": grid.search and grid.search.model_dump(exclude_none=True),
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
        if grid.search:
            ranges = "; ".join(f"{name} {given.describe()}" for name, given in grid.search.ranges.items())
            console.print(f"and what the search suggests, of {grid.search.budget.describe()} in all: {ranges}")
    elif console.is_terminal:
        console.print(Syntax(text, "yaml", theme="ansi_dark", background_color="default"))
    else:
        print(text, end="")  # a grid file again, byte for byte


def show_schema(path: bool, model: str) -> None:
    """Print the JSON Schema of grid files, or where it is."""
    print(schema_path() if path else json.dumps(grid_schema(model), indent=1))
