"""The commands ``study grids``, ``study grids show`` and ``study grids schema``."""

from typing import Annotated

import typer
from rich.console import Console

from study.completion import complete_grid
from study.help import epilog
from study.options import AsJson

app = typer.Typer()


@app.callback(invoke_without_command=True, epilog=epilog("grids"))
def grids(context: typer.Context, as_json: AsJson = False) -> None:
    """List the shipped grids, or show one."""
    from study.listing import show_grids

    if context.invoked_subcommand is None:
        show_grids(Console(), as_json)


@app.command("show", epilog=epilog("grids show"))
def show_one(
    name: Annotated[str, typer.Argument(help="A shipped grid or a .yaml file.", autocompletion=complete_grid)],
    cells: Annotated[bool, typer.Option("--cells", help="List its cells instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the file of a grid, with its comments: the beginning of one of your own."""
    from study.listing import show_grid

    show_grid(name, Console(), cells, as_json)


@app.command("schema", epilog=epilog("grids schema"))
def schema(
    path: Annotated[bool, typer.Option("--path", help="Print where the one of the report's networks is.")] = False,
    model: Annotated[str, typer.Option(help="Whose settings: of a model of your own, module:Class.")] = "comparator",
) -> None:
    """Print the JSON Schema of grid files, by which editors complete and check them."""
    from study.listing import show_schema

    show_schema(path, model)
