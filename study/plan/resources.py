"""What a Tune trial, a pack of cells, gets of a machine or a cluster. Ray is not needed to say it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from study.plan.jobs import Job
from study.plan.packs import cells_for_gpus
from study.plan.request import LaunchError, TrainingOptions

GPU_SHARE = 0.25  # of a cell alone: its networks are small, so that several fill a GPU better than one


@dataclass(frozen=True)
class Resources:
    """What a pack of cells gets, and where: ``address`` is a Ray cluster's, or None for this machine alone.

    ``gpus_per_trial`` is None until it is known whether the cluster has GPUs. ``cells_per_trial`` is the most that a
    pack holds, or None for a number that suits the machines: 1 on a CPU, where a larger stack is not faster, and on
    GPUs what ``cells_for_gpus`` of planning.py says. ``gpus`` are all there are.
    A pack that dies is tried again ``retries`` times, from its last checkpoint; an epoch may take ``epoch_limit_s``.
    """

    cpus_per_trial: float = 1
    gpus_per_trial: float | None = 0
    address: str | None = None
    data_dir: str | None = None
    retries: int = 3
    epoch_limit_s: float = 600
    cells_per_trial: int | None = None
    gpus: float = 0

    def cells_in_a_pack(self, jobs: Sequence[Job]) -> int:
        """Return how many cells a pack of these jobs holds at most."""
        if self.cells_per_trial is not None:
            return self.cells_per_trial
        return cells_for_gpus(jobs, int(self.gpus / self.gpus_per_trial)) if self.gpus_per_trial else 1

    @property
    def gpu_share(self) -> float:
        """What part of a GPU a pack gets where the user does not say: a whole one for many cells."""
        return 1 if self.cells_per_trial is None else min(1, GPU_SHARE * self.cells_per_trial)

    @property
    def device(self) -> str:
        """Where PyTorch computes."""
        assert self.gpus_per_trial is not None, "where a cell runs is not known before its cluster is"
        return "cuda" if self.gpus_per_trial else "cpu"


def resources_for(options: TrainingOptions) -> Resources:
    """Refuse what this machine cannot give; a cluster may still grow.

    What the user left open is filled in by ``placed``. Raises LaunchError.
    """
    address = options.address or os.environ.get("RAY_ADDRESS")
    cpus, gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    asked = (("cpus", options.cpus_per_trial, cpus), ("gpus", options.gpus_per_trial, gpus))
    for what, wanted, there in asked:
        if not address and wanted is not None and wanted > there:
            raise LaunchError(
                f"--{what}-per-trial {wanted:g}: this machine has {there} {what[:-1].upper()}s; ask for at most "
                "that, or join a cluster with --address"
            )
    data_dir = options.data_dir
    if data_dir:  # a worker has another working directory
        data_dir = str(Path(data_dir).expanduser().absolute())
    return Resources(
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        address=address,
        data_dir=data_dir,
        retries=options.retries,
        epoch_limit_s=options.epoch_limit,
        cells_per_trial=None if options.cells_per_trial == "auto" else int(options.cells_per_trial),
    )


def cells_alone(resources: Resources) -> Resources:
    """Let each cell of a search have a stack of its own, since the next one is suggested when one has ended."""
    if (resources.cells_per_trial or 1) > 1:
        raise LaunchError(
            f"--cells-per-trial {resources.cells_per_trial}: a search trains its cells alone; leave it out"
        )
    return replace(resources, cells_per_trial=1)


def cells_that_fit(resources: Resources, nodes: Iterable[Mapping[str, float]]) -> int:
    """Return how many packs the nodes, each given by what it has, train at once: 1 where none has room yet."""
    wanted = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial or 0}
    fits = (min(int(node.get(what, 0) / need) for what, need in wanted.items() if need) for node in nodes)
    return max(1, sum(fits))


def placed(resources: Resources, nodes: Iterable[Mapping[str, float]]) -> tuple[Resources, bool]:
    """Fill in what is known once the nodes are, each given by what it has: their GPUs, and what a pack gets of them.

    Return also whether a node has room for a pack; where none has, packs wait for one that joins.
    """
    nodes = list(nodes)
    resources = replace(resources, gpus=sum(node.get("GPU", 0) for node in nodes))
    if resources.gpus_per_trial is None:
        resources = replace(resources, gpus_per_trial=resources.gpu_share if resources.gpus else 0)
    wanted = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial or 0}
    return resources, any(all(node.get(what, 0) >= need for what, need in wanted.items()) for node in nodes)
