"""How long a run takes on machines of any kind, and its cost, by a rate that was measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from analysis.stored import FINISHED
from study.plan.jobs import Job, count_trainings
from study.plan.packs import Pack, packs_of
from study.plan.resources import Resources, cells_alone, packs_that_fit, placed, resources_for, this_machine
from study.plan.run_options import MOST_OF_A_NODE, LaunchError, TrainingOptions, between


@dataclass(frozen=True)
class Machines:
    """Machines of one kind; ``price`` is that of one for an hour, in any currency, or None."""

    nodes: int
    cpus: float
    gpus: float
    price: float | None = None

    def __post_init__(self) -> None:
        least = {"nodes": 1, "cpus": 1, "gpus": 0, "price": 0}
        for what, value in asdict(self).items():
            if value is not None and not between(least[what], MOST_OF_A_NODE)(value):
                raise LaunchError(f"--{what} {value:g}: expected {least[what]} to {MOST_OF_A_NODE:,}")

    @property
    def amounts(self) -> list[dict[str, float]]:
        """What each has, by Ray's names."""
        return [{"CPU": self.cpus, "GPU": self.gpus}] * self.nodes


@dataclass(frozen=True)
class Rate:
    """Seconds per training of a pack: the mean over trainings, and the slowest pack's."""

    mean_s: float
    slowest_s: float
    source: str


# By the trainings in a stack, of which a GPU does more the more there are. Of a CPU, measured with `study run
# --grid table1` (docs/cluster.md describes the machine); of a GPU, as docs/performance.md says.
SHIPPED_RATES = {
    "cpu": {1: Rate(1.01, 1.47, "90 trainings of a shipped grid on 2 cores of a server, one core per cell")},
    "cuda": {
        1: Rate(0.102, 0.107, "4 cells of 10 seeds, each in a stack of its own on an NVIDIA H200"),
        160: Rate(0.025, 0.026, "320 trainings of a shipped grid in 2 stacks on an NVIDIA H200"),
    },
}


def machines_for(
    nodes: int,
    cpus: float | None,
    gpus: float | None,
    price: float | None,
    options: TrainingOptions,
    alone: bool = False,  # as the cells of a search train
) -> tuple[Machines, Resources]:
    """Return machines, by default like this one, and what a pack gets; raise LaunchError."""
    here = this_machine()
    cpus = here["CPU"] if cpus is None else cpus
    gpus = here["GPU"] if gpus is None else gpus
    machines = Machines(nodes, cpus, gpus, price)
    # With an address, resources_for does not compare with this machine.
    asked = resources_for(replace(options, address="of these machines"))
    resources, room = placed(cells_alone(asked) if alone else asked, machines.amounts)
    if not room:
        raise LaunchError(
            f"a cell of {resources.needs['CPU']:g} cores and {resources.needs.get('GPU', 0):g} GPUs "
            f"has no room on a machine of {cpus:g} cores and {gpus:g} GPUs; set --cpus and --gpus, or what a cell gets"
        )
    return machines, resources


def measured_rate(study: str, trials: Iterable[Mapping[str, Any]], device: str) -> Rate | None:
    """Return the rate of a study's finished trials on a kind of device, None without any."""
    # The seeds of a pack train together: they begin at the same microsecond.
    packs: dict[datetime, list[float]] = defaultdict(list)
    for row in trials:
        if row["status"] in FINISHED and row["device"] == device:
            packs[row["started_at"]].append((row["finished_at"] - row["started_at"]).total_seconds())
    if not packs:
        return None
    trainings = sum(map(len, packs.values()))
    mean_s = sum(map(max, packs.values())) / trainings
    slowest_s = max(max(times) / len(times) for times in packs.values())
    return Rate(mean_s, slowest_s, f"the {trainings} trainings of {study} on {device}")


def duration_s(packs: Sequence[Pack], slots: int, rate: Rate) -> tuple[float, float]:
    """Return the least and the most seconds of packs if so many train at once."""
    if not packs:
        return 0.0, 0.0
    trainings = list(map(count_trainings, packs))
    work_s = rate.mean_s * sum(trainings)
    longest_s = rate.slowest_s * max(trainings)
    if len(packs) <= slots:
        return longest_s, longest_s
    # The bounds of list scheduling: R. L. Graham, Bounds on multiprocessing timing anomalies,
    # SIAM J. Appl. Math. 17 (1969). At best the work divides evenly; at worst the longest pack
    # begins when all others have ended.
    return max(work_s / slots, longest_s), work_s / slots + (1 - 1 / slots) * longest_s


@dataclass(frozen=True)
class Forecast:
    """Least and most ``time_s`` and price of a run; None without a rate or a price."""

    cells_at_once: int
    cells_in_a_pack: int
    rate: Rate | None
    time_s: tuple[float, float] | None
    price: tuple[float, float] | None


def forecast(
    study: str, jobs: Sequence[Job], trials: Iterable[Mapping[str, Any]], machines: Machines, resources: Resources
) -> Forecast:
    """Foresee a run of jobs by the trials that the study has, or by the shipped rate."""
    seeds = max((len(job.seeds) for job in jobs), default=1)
    slots, cells = packs_that_fit(resources, machines.amounts, seeds), resources.cells_in_a_pack(jobs)
    rate = measured_rate(study, trials, resources.device)
    # The shipped rate says nothing about other networks, or about longer trainings.
    if rate is None and all(job.cell.has_shipped_rate for job in jobs):
        rates = SHIPPED_RATES[resources.device]
        rate = rates[max(size for size in rates if size <= max(1, cells * seeds))]
    if rate is None:
        return Forecast(slots * cells, cells, None, None, None)
    least_s, most_s = duration_s(packs_of(jobs, cells), slots, rate)
    price = None
    if machines.price is not None:
        per_hour = machines.nodes * machines.price
        price = (per_hour * least_s / 3600, per_hour * most_s / 3600)
    return Forecast(slots * cells, cells, rate, (least_s, most_s), price)
