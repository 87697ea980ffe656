"""What a pack of cells, one Tune trial, gets of its machines. It needs no Ray to say so."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from study.plan.jobs import Job
from study.plan.packs import cells_for_gpus
from study.plan.run_options import LaunchError, TrainingOptions
from trainables.config import TrainingSettings
from trainables.registry import is_function

# For a single cell: the networks are small, so several fill a GPU better than one.
GPU_SHARE = 0.25


@dataclass(frozen=True)
class Resources:
    """What a pack of cells gets, and where.

    ``options`` are the user's; their ``address`` may come from the environment, and is None
    for this machine. Their ``gpus_per_trial`` is None until it is known whether the cluster
    has GPUs, and ``gpus`` are all that it has.
    """

    options: TrainingOptions
    gpus: float = 0

    @property
    def cells_per_trial(self) -> int | None:
        """The most cells that a pack holds, or None for a number that suits the machines."""
        return None if self.options.cells_per_trial == "auto" else int(self.options.cells_per_trial)

    def cells_in_a_pack(self, jobs: Sequence[Job]) -> int:
        """Return how many cells a pack of these jobs holds at most."""
        if self.cells_per_trial is not None:
            return self.cells_per_trial
        # On a CPU a larger stack is not faster.
        if not self.options.gpus_per_trial:
            return 1
        return cells_for_gpus(jobs, int(self.gpus / self.options.gpus_per_trial))

    @property
    def device(self) -> str:
        """Where PyTorch computes."""
        gpus = self.options.gpus_per_trial
        assert gpus is not None, "where a cell runs is not known before its cluster is"
        return "cuda" if gpus or self.options.gpus_per_seed else "cpu"

    @property
    def per_seed(self) -> dict[str, float] | None:
        """What each seed needs of a node, by Ray's names, or None if the seeds of a cell train in one process."""
        cpus, gpus = self.options.cpus_per_seed, self.options.gpus_per_seed
        if cpus is None and gpus is None:
            return None
        return {"CPU": cpus or 1} | ({"GPU": gpus} if gpus else {})

    @property
    def needs(self) -> dict[str, float]:
        """What a pack, or a seed that trains by itself, needs of a node; what it does not need is left out."""
        gpus = self.options.gpus_per_trial
        return self.per_seed or {"CPU": self.options.cpus_per_trial} | ({"GPU": gpus} if gpus else {})


def resources_for(options: TrainingOptions) -> Resources:
    """Return the resources asked for; raise LaunchError for more than this machine has."""
    address, data_dir = options.address or os.environ.get("RAY_ADDRESS"), options.data_dir
    cpus, gpus = this_machine().values()
    asked = (("cpus", options.cpus_per_trial, cpus), ("gpus", options.gpus_per_trial, gpus))
    for what, wanted, there in asked:
        # A cluster may have more, now or when it has grown.
        if not address and wanted is not None and wanted > there:
            raise LaunchError(
                f"--{what}-per-trial {wanted:g}: this machine has {there} {what[:-1].upper()}s; ask "
                "for at most that, or join a cluster with --address"
            )
    if data_dir:
        # A worker has another working directory, so that a relative path would lead elsewhere.
        try:
            data_dir = str(Path(data_dir).expanduser().absolute())
        except RuntimeError as error:
            raise LaunchError(f"--data-dir {data_dir}: {error} Give the whole path") from None
    return Resources(replace(options, address=address, data_dir=data_dir))


def cells_alone(resources: Resources) -> Resources:
    """Give each cell of a search its own stack: the next is suggested when one has ended."""
    if (cells := resources.cells_per_trial) is not None and cells > 1:
        raise LaunchError(f"--cells-per-trial {cells}: a search trains one cell in a stack; leave it out")
    return replace(resources, options=replace(resources.options, cells_per_trial="1"))


def check_per_seed(resources: Resources, cells: Iterable[TrainingSettings], seeds: int) -> None:
    """Refuse resources of each seed if a model is no function, or this machine has no room for so many seeds."""
    if resources.per_seed is None:
        return
    options = resources.options
    flag = "--cpus-per-seed" if options.gpus_per_seed is None else "--gpus-per-seed"
    for model in {cell.model for cell in cells}:
        if not is_function(model):
            raise LaunchError(f"{flag}: the seeds of {model} train as one stack; leave it out, or make it a function")
    fit = _count_that_fit(resources, [this_machine()])
    if not options.address and fit < seeds:
        raise LaunchError(
            f"{flag}: this machine has room for {fit} seeds at the same time, and a cell has {seeds}; ask for less "
            "for each, leave it out, or join a cluster with --address"
        )


def this_machine() -> dict[str, float]:
    """Return what this machine has, by Ray's names."""
    return {"CPU": len(os.sched_getaffinity(0)), "GPU": torch.cuda.device_count()}


def _count_that_fit(resources: Resources, nodes: Iterable[Mapping[str, float]]) -> int:
    fit = 0
    for node in nodes:
        fit += min(int(node.get(what, 0) / need) for what, need in resources.needs.items())
    return fit


def packs_that_fit(resources: Resources, nodes: Iterable[Mapping[str, float]], seeds: int = 1) -> int:
    """Return how many packs of ``seeds`` nodes, given by the amounts of each, train at once: at least 1."""
    fit = _count_that_fit(resources, nodes)
    if resources.per_seed:
        fit //= seeds
    return max(1, fit)  # a pack that waits for room makes a cluster grow


def placed(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> tuple[Resources, bool]:
    """Fill in what depends on the amounts of the nodes; tell if one has room for a pack."""
    options, gpus = resources.options, sum(node.get("GPU", 0) for node in nodes)
    if options.gpus_per_trial is None:
        # A pack of many cells fills a whole GPU, if there is one.
        cells = resources.cells_per_trial
        share = 1 if cells is None else min(1, GPU_SHARE * cells)
        options = replace(options, gpus_per_trial=share if gpus and not resources.per_seed else 0)
    found = Resources(options, gpus)
    # All that a pack gets is on one node: what is left on two makes no room.
    for node in nodes:
        if all(node.get(what, 0) >= need for what, need in found.needs.items()):
            return found, True
    return found, False
