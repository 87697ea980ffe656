"""The commands ``study grids``, ``study grids show`` and ``study grids schema``."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from study.cli.completion import complete_grid
from study.cli.help import epilog
from study.cli.parameters import AsJson
from study.console import answer, print_json, print_text
from study.words import format_value

if TYPE_CHECKING:
    from study.grid.grid import Grid

app = typer.Typer()


@app.callback(invoke_without_command=True, epilog=epilog("grids"))
def grids(context: typer.Context, as_json: AsJson = False) -> None:
    """List the grids that come with the package, or show one of them."""
    from study.grid.load import load_grid
    from study.grid.shipped import grid_names

    if context.invoked_subcommand is not None:
        return
    shipped = [_described(load_grid(name)) for name in grid_names()]
    if as_json:
        print_json(shipped)
        return
    table = Table("grid", "cells", "seeds", "trials", "what it is", box=None, header_style="bold")
    for grid in shipped:
        counts = (grid["cells"], grid["seeds"], grid["trials"])
        sizes = ("by time" if count is None else str(count) for count in counts)
        table.add_row(grid["name"], *sizes, grid["description"])
    answer(table)


@app.command("show", epilog=epilog("grids show"))
def show_grid(
    name: Annotated[str, typer.Argument(help="A shipped grid or a .yaml file.", autocompletion=complete_grid)],
    cells: Annotated[bool, typer.Option("--cells", help="List the grid's cells instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a grid file with its comments, for example to begin your own grid with it."""
    from study.grid.load import load_grid, read_grid

    # The file is checked even if its text is all that is printed.
    grid = load_grid(name)
    path, text = read_grid(name)
    if as_json:
        described = [{"cell_id": cell.cell_id, **cell.model_dump()} for cell in grid.cells()]
        print_json({**_described(grid), "path": path, "cells": described})
    elif cells:
        _print_cells(grid)
    elif sys.stdout.isatty():
        from rich.syntax import Syntax

        answer(Syntax(text, "yaml", theme="ansi_dark", background_color="default"))
    else:
        print_text(text, end="")  # a grid file again, byte for byte


@app.command("schema", epilog=epilog("grids schema"))
def show_schema(
    path: Annotated[bool, typer.Option("--path", help="Print the path of the shipped schema.")] = False,
    model: Annotated[
        str, typer.Option(help="Whose settings it has; module:Class or module:function for your own.")
    ] = "comparator",
) -> None:
    """Print the JSON Schema of grid files. With it, an editor completes and checks them."""
    from study.grid.json_schema import grid_schema, schema_path

    if path:
        answer(str(schema_path()))
    else:
        print_json(grid_schema(model))


def _described(grid: "Grid") -> dict[str, Any]:
    """Return a grid as JSON values; ``cells`` and ``trials`` are None if time ends its search."""
    cells = grid.most_cells
    return {
        "name": grid.name,
        "description": grid.description,
        "cells": cells,
        "seeds": grid.seeds,
        "trials": None if cells is None else cells * grid.seeds,
        "roles": grid.roles,
        "objective": grid.objective_metric.name,
        "search": grid.search and grid.search.model_dump(exclude_none=True),
    }


def _print_cells(grid: "Grid") -> None:
    table = Table("cell", *grid.roles, box=None, header_style="bold")
    for cell in grid.cells():
        table.add_row(cell.cell_id, *(format_value(getattr(cell, name)) for name in grid.roles))
    answer(table)
    if grid.search:
        budget, ranges = grid.search.budget.describe(), grid.search.ranges.items()
        searched = "; ".join(f"{name} {given.describe()}" for name, given in ranges)
        answer(f"and what the search suggests, of {budget} in all: {searched}")
