"""What a cell gets of a machine or a cluster. Ray is not needed to say it."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

GPU_SHARE = 0.25  # of a cell: its networks are small, so that several fill a GPU better than one


class LaunchError(Exception):
    """A run that cannot start: the message names the value, what was expected and the fix."""


@dataclass(frozen=True)
class Resources:
    """What a cell gets, and where: ``address`` is a Ray cluster's, or None for this machine alone.

    ``gpus_per_trial`` is None until it is known whether the cluster has GPUs.
    A cell that dies is tried again ``retries`` times, from its last checkpoint; an epoch may take ``epoch_limit_s``.
    """

    cpus_per_trial: float = 1
    gpus_per_trial: float | None = 0
    address: str | None = None
    data_dir: str | None = None
    retries: int = 3
    epoch_limit_s: float = 600

    @property
    def device(self) -> str:
        """Where PyTorch computes."""
        assert self.gpus_per_trial is not None, "where a cell runs is not known before its cluster is"
        return "cuda" if self.gpus_per_trial else "cpu"


def resources_for(
    cpus_per_trial: float,
    gpus_per_trial: float | None,
    address: str | None,
    data_dir: str | None,
    retries: int = Resources.retries,
    epoch_limit_s: float = Resources.epoch_limit_s,
) -> Resources:
    """Fill in what the user left open, and refuse what this machine cannot give; a cluster may still grow.

    Without ``gpus_per_trial``, cells share a GPU where this machine has one; what a cluster has is seen later.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    cpus, gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    if gpus_per_trial is None and not address:
        gpus_per_trial = GPU_SHARE if gpus else 0
    if cpus_per_trial < 1:
        raise LaunchError(f"--cpus-per-trial {cpus_per_trial:g}: expected at least 1, a core for each cell")
    if gpus_per_trial is not None and (
        gpus_per_trial < 0 or (gpus_per_trial > 1 and gpus_per_trial != int(gpus_per_trial))
    ):
        raise LaunchError(
            f"--gpus-per-trial {gpus_per_trial:g}: expected 0, a fraction below 1, or a whole number of GPUs"
        )
    if retries < 0:
        raise LaunchError(f"--retries {retries}: expected 0 or more")
    if not epoch_limit_s > 0:
        raise LaunchError(f"--epoch-limit {epoch_limit_s:g}: expected seconds, more than 0")
    for what, wanted, there in (("cpus", cpus_per_trial, cpus), ("gpus", gpus_per_trial, gpus)):
        if not address and wanted is not None and wanted > there:
            raise LaunchError(
                f"--{what}-per-trial {wanted:g}: this machine has {there} {what[:-1].upper()}s; ask for at most "
                "that, or join a cluster with --address"
            )
    if data_dir:  # a worker has another working directory
        data_dir = str(Path(data_dir).expanduser().absolute())
    return Resources(cpus_per_trial, gpus_per_trial, address, data_dir, retries, epoch_limit_s)


def placed(resources: Resources, nodes: Iterable[Mapping[str, float]]) -> tuple[Resources, bool]:
    """Fill in what is known once the cluster is: whether its nodes, given by what each has, bring GPUs.

    Return also whether a node has room for a cell; where none has, cells wait for one that joins.
    """
    nodes = list(nodes)
    if resources.gpus_per_trial is None:
        resources = replace(resources, gpus_per_trial=GPU_SHARE if any(node.get("GPU") for node in nodes) else 0)
    wanted = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial or 0}
    return resources, any(all(node.get(what, 0) >= need for what, need in wanted.items()) for node in nodes)
