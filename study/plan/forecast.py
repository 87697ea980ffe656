"""How long a run takes, and what it costs, on machines that may be elsewhere: from a rate that was measured."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import torch

from analysis.stored import FINISHED
from study.plan.jobs import Job
from study.plan.packs import Pack, packs_of
from study.plan.request import LaunchError, TrainingOptions
from study.plan.resources import Resources, cells_alone, placed, resources_for


@dataclass(frozen=True)
class Machines:
    """Machines of one kind; ``price`` is that of one for an hour, in any currency, or None."""

    nodes: int
    cpus: float
    gpus: float
    price: float | None = None

    def __post_init__(self) -> None:
        for what, value, least in (("nodes", self.nodes, 1), ("cpus", self.cpus, 1), ("gpus", self.gpus, 0)):
            if value < least:
                raise LaunchError(f"--{what} {value:g}: expected {least} or more")
        if self.price is not None and self.price < 0:
            raise LaunchError(f"--price {self.price:g}: expected 0 or more, for a machine and hour")

    def packs_at_once(self, resources: Resources) -> int:
        """Return how many packs train at once."""
        fits = self.cpus / resources.cpus_per_trial
        if resources.gpus_per_trial:
            fits = min(fits, self.gpus / resources.gpus_per_trial)
        return self.nodes * int(fits)


@dataclass(frozen=True)
class Rate:
    """Seconds that a training took, its cell's time over its seeds: mean over cells, and slowest cell; and whence."""

    mean_s: float
    slowest_s: float
    source: str


# With `study run --grid table1`; see docs/cluster.md for the machine.
SHIPPED = {"cpu": Rate(1.01, 1.47, "grid table1, 90 trainings on 2 cores of a server, a core a cell")}


def machines_for(
    nodes: int,
    cpus: float | None,
    gpus: float | None,
    price: float | None,
    options: TrainingOptions,
    alone: bool = False,
) -> tuple[Machines, Resources]:
    """Return the machines that the user has in mind, and what a pack gets of them; raise LaunchError.

    ``alone`` is for the cells of a search.
    """
    cpus = len(os.sched_getaffinity(0)) if cpus is None else cpus
    gpus = torch.cuda.device_count() if gpus is None else gpus
    machines = Machines(nodes, cpus, gpus, price)
    asked = resources_for(replace(options, address="of these machines"))  # what this machine has does not matter
    resources, room = placed(cells_alone(asked) if alone else asked, [{"CPU": cpus, "GPU": gpus}] * nodes)
    if not room:
        raise LaunchError(
            f"a cell of {resources.cpus_per_trial:g} cores and {resources.gpus_per_trial:g} GPUs has no room on a "
            f"machine of {cpus:g} cores and {gpus:g} GPUs; set --cpus and --gpus, or what a cell gets"
        )
    return machines, resources


def measured_rate(study: str, trials: Iterable[Mapping[str, Any]], device: str) -> Rate | None:
    """Return the rate of a study's finished cells on a kind of device, or None where it has none."""
    seconds: dict[datetime, list[float]] = defaultdict(list)
    for row in trials:
        if row["status"] in FINISHED and row["device"] == device:
            seconds[row["started_at"]].append((row["finished_at"] - row["started_at"]).total_seconds())
    # The seeds of a pack of cells train together: they begin at one moment, to the microsecond.
    per_training = [max(times) / len(times) for times in seconds.values()]
    if not per_training:
        return None
    trainings = sum(map(len, seconds.values()))
    mean_s = sum(max(times) for times in seconds.values()) / trainings
    return Rate(mean_s, max(per_training), f"the {trainings} trainings of {study} on {device}")


def duration_s(packs: Sequence[Pack], slots: int, rate: Rate) -> tuple[float, float]:
    """Return the least and the most seconds that packs take on so many slots, in any order.

    The bounds of list scheduling: R. L. Graham, Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17
    (1969).
    """
    if not packs:
        return 0.0, 0.0
    trainings = [sum(len(job.seeds) for job in pack) for pack in packs]
    work_s = rate.mean_s * sum(trainings)
    longest_s = rate.slowest_s * max(trainings)
    if len(packs) <= slots:
        return longest_s, longest_s
    return max(work_s / slots, longest_s), work_s / slots + (1 - 1 / slots) * longest_s


@dataclass(frozen=True)
class Forecast:
    """What a run would take: least and most seconds and price; None for what no measured rate tells, or no price."""

    cells_at_once: int
    cells_in_a_pack: int
    rate: Rate | None
    time_s: tuple[float, float] | None
    price: tuple[float, float] | None


def forecast(
    study: str,
    jobs: Sequence[Job],
    trials: Iterable[Mapping[str, Any]],
    machines: Machines,
    resources: Resources,
) -> Forecast:
    """Foresee a run of jobs from the trials that the study has, or from the rate that is shipped."""
    slots, cells = machines.packs_at_once(resources), resources.cells_in_a_pack(jobs)
    rate = measured_rate(study, trials, resources.device)
    if rate is None and all(job.cell.has_shipped_rate for job in jobs):
        rate = SHIPPED.get(resources.device)
    if rate is None:
        return Forecast(slots * cells, cells, None, None, None)
    least_s, most_s = duration_s(packs_of(jobs, cells), slots, rate)
    an_hour = None if machines.price is None else machines.nodes * machines.price
    price = None if an_hour is None else (an_hour * least_s / 3600, an_hour * most_s / 3600)
    return Forecast(slots * cells, cells, rate, (least_s, most_s), price)
