"""What a pack of cells, one Tune trial, gets of a machine or a cluster. It needs no Ray to say so."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from study.plan.jobs import Job
from study.plan.packs import cells_for_gpus
from study.plan.run_options import LaunchError, TrainingOptions

# For a single cell: the networks are small, so several fill a GPU better than one.
GPU_SHARE = 0.25


@dataclass(frozen=True)
class Resources:
    """What a pack of cells gets, and where.

    ``address`` is that of a Ray cluster, or None for this machine. ``gpus_per_trial`` is
    None until it is known whether the cluster has GPUs, and ``gpus`` are all that it has.
    ``cells_per_trial`` is the most that a pack holds, or None for a number that suits the
    machines: 1 on a CPU, where a larger stack is not faster, and on GPUs what
    ``cells_for_gpus`` says. A pack that dies is tried again ``retries`` times, from its
    last checkpoint. An epoch may take ``epoch_limit_s`` seconds.
    """

    cpus_per_trial: float = TrainingOptions.cpus_per_trial
    gpus_per_trial: float | None = 0
    address: str | None = None
    data_dir: str | None = None
    retries: int = TrainingOptions.retries
    epoch_limit_s: float = TrainingOptions.epoch_limit
    cells_per_trial: int | None = None
    gpus: float = 0

    def cells_in_a_pack(self, jobs: Sequence[Job]) -> int:
        """Return how many cells a pack of these jobs holds at most."""
        if self.cells_per_trial is not None:
            return self.cells_per_trial
        if not self.gpus_per_trial:
            return 1
        return cells_for_gpus(jobs, int(self.gpus / self.gpus_per_trial))

    @property
    def device(self) -> str:
        """Where PyTorch computes."""
        assert self.gpus_per_trial is not None, "where a cell runs is not known before its cluster is"
        return "cuda" if self.gpus_per_trial else "cpu"

    @property
    def needs(self) -> dict[str, float]:
        """What a pack needs of a node, by Ray's names; what it does not need is left out."""
        needs = {"CPU": self.cpus_per_trial}
        return needs | {"GPU": self.gpus_per_trial} if self.gpus_per_trial else needs


def resources_for(options: TrainingOptions) -> Resources:
    """Return the resources that are asked for; what the user left open, ``placed`` fills in.

    Raises LaunchError for more than this machine has. A cluster may have it, now or when it
    has grown.
    """
    address = options.address or os.environ.get("RAY_ADDRESS")
    cpus, gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    asked = (("cpus", options.cpus_per_trial, cpus), ("gpus", options.gpus_per_trial, gpus))
    for what, wanted, there in asked:
        if not address and wanted is not None and wanted > there:
            kind = what[:-1].upper()
            raise LaunchError(
                f"--{what}-per-trial {wanted:g}: this machine has {there} {kind}s; ask for at most "
                "that, or join a cluster with --address"
            )
    data_dir = options.data_dir
    if data_dir:
        # A worker has another working directory, so that a relative path would lead elsewhere.
        data_dir = str(Path(data_dir).expanduser().absolute())
    cells = options.cells_per_trial
    return Resources(
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        address=address,
        data_dir=data_dir,
        retries=options.retries,
        epoch_limit_s=options.epoch_limit,
        cells_per_trial=None if cells == "auto" else int(cells),
    )


def cells_alone(resources: Resources) -> Resources:
    """Give each cell of a search a stack of its own: the next one is suggested when one has ended."""
    if (resources.cells_per_trial or 1) > 1:
        raise LaunchError(
            f"--cells-per-trial {resources.cells_per_trial}: a search trains one cell in a stack; leave it out"
        )
    return replace(resources, cells_per_trial=1)


def cells_that_fit(resources: Resources, nodes: Iterable[Mapping[str, float]]) -> int:
    """Return how many packs the nodes train at once; each node is given by the amounts that it has.

    It is 1 if no node has room yet: one that waits makes a cluster grow.
    """
    fit = 0
    for node in nodes:
        fit += min(int(node.get(what, 0) / need) for what, need in resources.needs.items())
    return max(1, fit)


def placed(resources: Resources, nodes: Iterable[Mapping[str, float]]) -> tuple[Resources, bool]:
    """Fill in what is known only once the nodes are: their GPUs, and what a pack gets of them.

    Each node is given by the amounts that it has. Return also whether a node has room for a
    pack; if none has, packs wait for one that joins.
    """
    nodes = list(nodes)
    resources = replace(resources, gpus=sum(node.get("GPU", 0) for node in nodes))
    if resources.gpus_per_trial is None:
        # A pack of many cells fills a whole GPU, if there is one.
        cells = resources.cells_per_trial
        share = 1 if cells is None else min(1, GPU_SHARE * cells)
        resources = replace(resources, gpus_per_trial=share if resources.gpus else 0)
    # All that a pack gets is on one node: what is left on two makes no room.
    needs = resources.needs
    for node in nodes:
        if all(node.get(what, 0) >= need for what, need in needs.items()):
            return resources, True
    return resources, False
