"""The command ``study plan``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from study.cli.help import epilog
from study.cli.parameters import AsJson, takes
from study.console import answer, print_json, tell_problem, tell_unreadable
from study.plan.run_options import RunOptions, Work
from study.words import format_counts, format_duration, format_value

if TYPE_CHECKING:
    from study.plan.detect import Detection
    from study.plan.forecast import Forecast, Machines
    from study.plan.jobs import RunPlan
    from study.plan.resources import Resources

app = typer.Typer()

PLANNED_BY = ("cell_id", "seed", "model", "device", "code_id", "data_sha256", "started_at", "finished_at")
LISTED = 200  # cells that people read of in a plan


@app.command(epilog=epilog("plan"))
@takes(RunOptions, leave_out=("data_dir", "address", "retries", "epoch_limit", "same_code", "track", "until_decided"))
def plan(
    options: RunOptions,
    nodes: Annotated[int, typer.Option(help="How many machines to plan for.")] = 1,
    cpus: Annotated[float | None, typer.Option(help="CPU cores of each; by default this machine's.")] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs of each; by default this machine's.")] = None,
    price: Annotated[float | None, typer.Option(help="Price of one machine for one hour.")] = None,
    detect: Annotated[float | None, typer.Option(help="Plan seeds to find this difference with 80 % power.")] = None,
    pilot: Annotated[str | None, typer.Option(help="Study to plan them by; by default that of the grid.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would train, and its time and cost on machines of your choice."""
    from study.plan.forecast import machines_for

    work = options.resolve()
    machines, resources = machines_for(nodes, cpus, gpus, price, options, alone=work.grid.search is not None)
    detection = None
    if detect is not None:
        from study.plan.detect import seeds_to_detect

        detection = seeds_to_detect(work, detect, pilot)
        work = replace(options, seeds=detection.seeds).resolve()
    show_plan(work, machines, resources, as_json, detection)


def show_plan(
    work: Work,
    machines: "Machines",
    resources: "Resources",
    as_json: bool,
    detection: "Detection | None" = None,
) -> None:
    """Print the cells, what the study has of each, what a run would train, and its time; before, why so many seeds."""
    from study.plan.forecast import forecast
    from study.plan.jobs import describe_plan, plan_run
    from study.plan.other_code import other_code
    from study.plan.resources import check_per_seed
    from trainables.registry import BUILT_IN, check, try_functions

    check_per_seed(resources, work.cells, len(work.seeds))
    # The package's own models are known to work; a user's is tried, as a run would try it.
    check([cell for cell in work.cells if cell.model not in BUILT_IN], resources.options.data_dir)
    try_functions(work.cells, work.info.goal.column("val"))
    rows, unreadable = work.store.read_trials(*PLANNED_BY, info=work.info)
    plan = plan_run(work, rows)
    others = list(other_code(work.cells, rows))
    cells = _planned_cells(work, plan, rows)

    # What a search will suggest takes its time too, though its cells are not known yet.
    search = plan.search
    suggested = search.jobs_left() if search else []
    ahead = forecast(work.store.study, [*plan.jobs, *suggested], rows, machines, resources)
    if as_json:
        asked = {"study": work.store.study, "seeds": len(work.seeds), "cells": cells, "to_train": plan.trials}
        asked |= {"other_code": others}
        asked |= {"search": search.ahead()} if search else {}
        asked |= {"detect": asdict(detection)} if detection else {}
        print_json({**asked, "forecast": asdict(ahead), "unreadable": list(unreadable)})
        return

    if detection is not None:
        answer(_detection_table(detection), detection.words)
    table = Table("cell", *work.grid.roles, "has", "to train", box=None, header_style="bold")
    for cell in cells[:LISTED]:
        settings = [format_value(cell[name]) for name in work.grid.roles]
        has = format_counts(dict(sorted(cell["has"].items()))) or "none"
        table.add_row(cell["cell_id"], *settings, has, str(cell["to_train"]))
    answer(table)
    if len(cells) > LISTED:
        answer(f"and {len(cells) - LISTED} more cells; --json has all")
    tell_unreadable(unreadable, then="a run restores it")
    for line in others:
        tell_problem(f"{line}; a run needs another --name, or --same-code")
    answer(describe_plan(plan, work), describe_forecast(ahead, plan, machines, resources))


def _detection_table(detection: "Detection") -> Table:
    """List the contrasts of the pilot by which the seeds are planned."""
    table = Table("contrast", "n", "std", "upper bound", "finds with n", "seeds", box=None, header_style="bold")
    for row in detection.contrasts:
        figures = [f"{row[name]:.4g}" for name in ("std", "upper_std", "detectable")]
        table.add_row(row["name"], str(row["n"]), *figures, str(row["seeds"]))
    return table


def _planned_cells(work: Work, plan: "RunPlan", rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each cell's settings, its trials by status (``has``), and how many are ``to_train``."""
    held = {row["trial_id"]: row["status"] for row in rows}
    to_train = {job.cell.cell_id: len(job.seeds) for job in plan.jobs}
    planned = []
    for cell in work.cells:
        has = Counter(status for seed in work.seeds_of(cell) if (status := held.get(cell.trial_id(seed))))
        counts = {"has": dict(has), "to_train": to_train.get(cell.cell_id, 0)}
        planned.append({"cell_id": cell.cell_id, **cell.model_dump(), **counts})
    return planned


def describe_forecast(ahead: "Forecast", plan: "RunPlan", machines: "Machines", resources: "Resources") -> str:
    """Say how many cells train at once, what a run takes and costs, and how this is known."""
    who = f"{machines.nodes} x {machines.cpus:g} cores" + _and_gpus(machines.gpus)
    what = f"{ahead.cells_at_once} cells"
    if (size := ahead.cells_in_a_pack) > 1:
        what = f"{ahead.cells_at_once // size} stacks of up to {size} cells"
    each = f"{resources.needs['CPU']:g} cores" + _and_gpus(resources.needs.get("GPU"))
    text = f"on {who}: {what} at once, each {'seed ' if resources.per_seed else ''}with {each}"

    # Without a measured rate there is no time, and without a time no price.
    if ahead.rate is None or ahead.time_s is None:
        where = f"on a {resources.device} device"
        return f"{text}; no time is known for such cells {where}: train one there, then plan again"
    if not plan.jobs:
        return text
    least, most = map(format_duration, ahead.time_s)
    price = ", at a price of {:.2f} to {:.2f}".format(*ahead.price) if ahead.price else ""
    rate = f"{ahead.rate.mean_s:.2f} s per training (measured: {ahead.rate.source})"
    return f"{text}; about {least} to {most}{price}, plus the start of the machines, at {rate}"


def _and_gpus(gpus: float | None) -> str:
    return f" and {gpus:g} GPUs" if gpus else ""
