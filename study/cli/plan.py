"""The command ``study plan``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from study.console import tell_problem
from study.plan.jobs import RunPlan, describe_plan, plan_run
from study.plan.request import Work, search_of
from study.words import format_duration, format_value
from trainables.config import CellSettings
from trainables.registry import BUILT_IN, check

if TYPE_CHECKING:
    from study.plan.forecast import Forecast, Machines
    from study.plan.resources import Resources


LISTED = 200  # cells that people read of in a plan


def show_plan(
    work: Work, machines: "Machines", resources: "Resources", console: Console, as_json: bool = False
) -> None:
    """List the cells of a grid with what the study has of each, what a run would train, and how long it would take."""
    from study.plan.forecast import forecast

    grid, cells, seeds, store = work.grid, work.cells, work.seeds, work.store
    check([cell for cell in cells if cell.model not in BUILT_IN], resources.data_dir)
    rows, unreadable = store.read_trials("cell_id", "seed", "device", "started_at", "finished_at")
    plan = plan_run(grid, cells, seeds, rows, work.scheduler)
    planned = list(_planned(cells, seeds, plan, rows))
    search = search_of(grid, cells, seeds, rows)
    suggested = search.jobs_left() if search else []
    ahead = forecast(store.study, [*plan.jobs, *suggested], rows, machines, resources)
    if as_json:
        described = [
            {"cell_id": cell.cell_id, **cell.model_dump(), "has": has, "to_train": n} for cell, has, n in planned
        ]
        answer = {"study": store.study, "seeds": len(seeds), "cells": described, "to_train": plan.trials}
        answer |= {"search": search.ahead()} if search else {}
        console.print_json(data={**answer, "forecast": asdict(ahead), "unreadable": unreadable}, indent=1)
        return
    table = Table("cell", *grid.roles, "has", "to train", box=None, header_style="bold")
    for cell, has, to_train in planned[:LISTED]:
        held = ", ".join(f"{count} {status}" for status, count in sorted(has.items())) or "none"
        settings = [format_value(getattr(cell, name)) for name in grid.roles]
        table.add_row(cell.cell_id, *settings, held, str(to_train))
    console.print(table)
    if len(planned) > LISTED:
        console.print(f"and {len(planned) - LISTED} more cells; --json has all")
    for file in unreadable:
        tell_problem(f"{file} cannot be read; a run restores it")
    then = f"; {search.ahead()}" if search else ""
    console.print(f"{store.study}: {describe_plan(plan, cells, seeds)}{then}", highlight=False, soft_wrap=True)
    console.print(describe_forecast(ahead, plan, machines, resources), highlight=False, soft_wrap=True)


def _planned(
    cells: Sequence[CellSettings], seeds: Sequence[int], plan: RunPlan, rows: Sequence[dict[str, Any]]
) -> Iterator[tuple[CellSettings, dict[str, int], int]]:
    """Yield each cell with its trials that the study has, counted by status, and how many are to be trained."""
    held = {row["trial_id"]: row["status"] for row in rows}
    to_train = {job.cell.cell_id: len(job.seeds) for job in plan.jobs}
    for cell in cells:
        found = Counter(status for seed in seeds if (status := held.get(cell.trial_id(seed))))
        yield cell, dict(found), to_train.get(cell.cell_id, 0)


def describe_forecast(ahead: "Forecast", plan: RunPlan, machines: "Machines", resources: "Resources") -> str:
    """Say how many cells train at once, how long a run takes and what it costs, and what says so."""
    share = f" and {resources.gpus_per_trial:g} GPUs" if resources.gpus_per_trial else ""
    who = f"{machines.nodes} x {machines.cpus:g} cores" + (f" and {machines.gpus:g} GPUs" if machines.gpus else "")
    size = ahead.cells_in_a_pack
    what = f"{ahead.cells_at_once // size} packs of up to {size} cells" if size > 1 else f"{ahead.cells_at_once} cells"
    text = f"on {who}: {what} at once, each with {resources.cpus_per_trial:g} cores{share}"
    if ahead.rate is None:
        return (
            f"{text}; no time is known for such cells on a {resources.device} device: train one there, then plan again"
        )
    if not plan.jobs:
        return text
    cost = "" if ahead.price is None else ", at a price of {:.2f} to {:.2f}".format(*ahead.price)
    least, most = map(format_duration, ahead.time_s or ())
    rate = f"{ahead.rate.mean_s:.2f} s a training (measured: {ahead.rate.source})"
    return f"{text}; about {least} to {most}{cost}, and the start of the machines, at {rate}"
