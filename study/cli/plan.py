"""The command ``study plan``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from study.cli.help import epilog
from study.cli.options import AsJson, takes
from study.console import tell_problem
from study.plan.request import RunOptions, Work, search_of
from study.words import format_counts, format_duration, format_value

if TYPE_CHECKING:
    from study.plan.forecast import Forecast, Machines
    from study.plan.jobs import RunPlan
    from study.plan.resources import Resources
    from trainables.config import CellSettings

app = typer.Typer()

LISTED = 200  # cells that people read of in a plan


@app.command(epilog=epilog("plan"))
@takes(RunOptions, leave_out=("data_dir", "address", "retries", "epoch_limit", "track"))
def plan(
    options: RunOptions,
    nodes: Annotated[int, typer.Option(help="How many machines to plan for.")] = 1,
    cpus: Annotated[
        float | None, typer.Option(help="CPU cores of each machine; by default as many as this machine has.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(help="GPUs of each machine; by default as many as this machine has.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Price of one machine for one hour, in any currency.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would train and how long it would take on machines of your choice. Nothing is trained."""
    from study.plan.forecast import machines_for

    work = options.resolve()
    machines, resources = machines_for(nodes, cpus, gpus, price, options, alone=work.grid.search is not None)
    show_plan(work, machines, resources, Console(), as_json)


@dataclass(frozen=True)
class _PlannedCell:
    """A cell with its trials that the study has, counted by status, and how many are to be trained."""

    cell: "CellSettings"
    has: dict[str, int]
    to_train: int


def show_plan(
    work: Work, machines: "Machines", resources: "Resources", console: Console, as_json: bool = False
) -> None:
    """Print the cells of a grid with what the study has of each, what a run would train, and how long it would take."""
    from study.plan.forecast import forecast
    from study.plan.jobs import describe_plan, plan_run
    from trainables.registry import BUILT_IN, check

    # The models that come with the package are known to work; a user's own are built once, as a run would.
    check([cell for cell in work.cells if cell.model not in BUILT_IN], resources.data_dir)
    rows, unreadable = work.store.read_trials("cell_id", "seed", "device", "started_at", "finished_at")
    plan = plan_run(work.grid, work.cells, work.seeds, rows, work.scheduler)
    planned = list(_planned_cells(work, plan, rows))

    # What a search suggests is to be trained too, though its cells are not known yet.
    search = search_of(work.grid, work.cells, work.seeds, rows)
    suggested = search.jobs_left() if search else []
    ahead = forecast(work.store.study, [*plan.jobs, *suggested], rows, machines, resources)
    if as_json:
        answer = {"study": work.store.study, "seeds": len(work.seeds), "cells": _as_json(planned)}
        answer |= {"to_train": plan.trials} | ({"search": search.ahead()} if search else {})
        console.print_json(data={**answer, "forecast": asdict(ahead), "unreadable": unreadable}, indent=1)
        return

    console.print(_cells_table(planned[:LISTED], list(work.grid.roles)))
    if len(planned) > LISTED:
        console.print(f"and {len(planned) - LISTED} more cells; --json has all")
    for file in unreadable:
        tell_problem(f"{file} cannot be read; a run restores it")
    then = f"; {search.ahead()}" if search else ""
    what = describe_plan(plan, work.cells, work.seeds)
    console.print(f"{work.store.study}: {what}{then}", highlight=False, soft_wrap=True)
    console.print(describe_forecast(ahead, plan, machines, resources), highlight=False, soft_wrap=True)


def _planned_cells(work: Work, plan: "RunPlan", rows: Sequence[dict[str, Any]]) -> Iterator[_PlannedCell]:
    held = {row["trial_id"]: row["status"] for row in rows}
    to_train = {job.cell.cell_id: len(job.seeds) for job in plan.jobs}
    for cell in work.cells:
        statuses = (held.get(cell.trial_id(seed)) for seed in work.seeds)
        has = Counter(status for status in statuses if status)
        yield _PlannedCell(cell, dict(has), to_train.get(cell.cell_id, 0))


def _as_json(planned: Sequence[_PlannedCell]) -> list[dict[str, Any]]:
    described = []
    for each in planned:
        settings = {"cell_id": each.cell.cell_id, **each.cell.model_dump()}
        described.append({**settings, "has": each.has, "to_train": each.to_train})
    return described


def _cells_table(planned: Sequence[_PlannedCell], factors: Sequence[str]) -> Table:
    table = Table("cell", *factors, "has", "to train", box=None, header_style="bold")
    for each in planned:
        settings = [format_value(getattr(each.cell, name)) for name in factors]
        has = format_counts(dict(sorted(each.has.items()))) or "none"
        table.add_row(each.cell.cell_id, *settings, has, str(each.to_train))
    return table


def describe_forecast(ahead: "Forecast", plan: "RunPlan", machines: "Machines", resources: "Resources") -> str:
    """Say how many cells train at once, how long a run takes, what it costs, and from what this is known."""
    who = f"{machines.nodes} x {machines.cpus:g} cores"
    if machines.gpus:
        who += f" and {machines.gpus:g} GPUs"
    what = f"{ahead.cells_at_once} cells"
    if (size := ahead.cells_in_a_pack) > 1:
        what = f"{ahead.cells_at_once // size} stacks of up to {size} cells"
    text = f"on {who}: {what} at once, each with {resources.cpus_per_trial:g} cores"
    if resources.gpus_per_trial:
        text += f" and {resources.gpus_per_trial:g} GPUs"

    # Without a measured rate there is no time, and without a time no price.
    if ahead.rate is None or ahead.time_s is None:
        return (
            f"{text}; no time is known for such cells on a {resources.device} device: train one there, then plan again"
        )
    if not plan.jobs:
        return text
    least, most = map(format_duration, ahead.time_s)
    text += f"; about {least} to {most}"
    if ahead.price is not None:
        text += ", at a price of {:.2f} to {:.2f}".format(*ahead.price)
    rate = f"{ahead.rate.mean_s:.2f} s per training (measured: {ahead.rate.source})"
    return f"{text}, plus the start of the machines, at {rate}"
