"""The Tune Trainable around a training: one Tune trial trains all seeds of a pack of cells."""

import math
import socket
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import torch
from pyarrow.fs import FileSystem, FileType
from ray import tune

from trainables.engine.device import compute_alike
from trainables.engine.memory import keep_freed_memory
from trainables.engine.record import EpochRecord
from trainables.functions.function_training import FunctionTraining
from trainables.functions.seed_training import Limits, SeedTraining
from trainables.functions.time_limit import time_limit
from trainables.identity import code_id
from trainables.registry import find_model, hide_gpus, is_function, read_cell, start_training
from trainables.seed_actors import ActorTraining

if TYPE_CHECKING:
    from trainables.config import TrainingSettings
    from trainables.engine.training import Training

# The share of ended rows in a GPU's stack: to drop them costs a new CUDA graph.
IDLE_SHARE = 0.25


class StorageNotSharedError(Exception):
    """This node does not see what the driver wrote to the storage."""


class Verdicts:
    """A Ray actor that driver and packs share: which cells inside packs were pruned, and when.

    A pack asks before each step. One that is restored from a checkpoint ends a cell at the
    same epoch as before, so all its cells get the bits of a pack that was never interrupted.
    """

    def __init__(self) -> None:
        self._pruned: dict[str, int] = {}

    def prune(self, cell_id: str, epoch: int) -> None:
        """Record that a cell was pruned after an epoch."""
        self._pruned[cell_id] = epoch

    def pruned(self) -> dict[str, int]:
        """Return the epoch after which each cell was pruned, by the cell's id."""
        return self._pruned


class PackTrainable(tune.Trainable):
    """Trains a pack of cells in one stack, or a cell whose model is a function. Its Tune config holds:

    - ``cells``: a list of ``cell``, the settings of one, and ``seeds``, a list of int
    - ``device``: "cpu" or "cuda", and ``threads`` of the CPU
    - ``data_dir``: the folder of the data's files, or None
    - ``epoch_limit_s``: the longest that an epoch may take, in seconds
    - ``marker``: a pyarrow.fs.FileSystem and a file in it that this node must see, or None
    - ``verdicts``: the name of the actor Verdicts, or None if no cell is pruned inside a pack
    - ``per_seed``: what each seed of a function gets, by Ray's names, if it has an actor of its own, or None
    - ``objective``: the figure of records that early stopping goes by, such as "val_accuracy"

    The caller sets the resources with ``tune.with_resources``. Every result holds ``epoch`` and
    ``cells``: those that trained in it, in their order, each with ``cell_id``, ``code_id``, ``epoch``,
    ``objective`` (the mean over all its seeds), ``ended`` (whether all its seeds have) and
    ``records`` (the epoch's records as plain dictionaries).
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Build the training; see the class for the config."""
        keep_freed_memory()
        compute_alike()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another pack in the same process, so that PyTorch is loaded only once."""
        self.cleanup()
        self._begin(new_config)
        return True

    def _begin(self, new_config: dict[str, Any]) -> None:
        torch.set_num_threads(new_config["threads"])
        cells = {read_cell(part["cell"]): part["seeds"] for part in new_config["cells"]}
        self._training = _start(cells, new_config)
        self._code_ids = {cell.cell_id: code_id(cell.model) for cell in cells}
        self._epoch_limit_s = float(new_config["epoch_limit_s"])
        self._objective = new_config["objective"]
        self._last: dict[str, dict[int, float]] = {cell.cell_id: {} for cell in cells}
        self._marker: tuple[FileSystem, str] | None = new_config["marker"]
        self._verdicts = new_config["verdicts"] and ray.get_actor(new_config["verdicts"])

    def cleanup(self) -> None:
        """Let functions that are not done clean up after themselves."""
        self._training.close()

    def step(self) -> dict[str, Any]:
        """Train one epoch; raise TimeoutError at its limit, and StorageNotSharedError."""
        if self._marker is not None:
            filesystem, path = self._marker
            if filesystem.get_file_info(path).type != FileType.File:
                host = socket.gethostname()
                raise StorageNotSharedError(f"the node {host} does not see {path}, which the driver wrote")
            self._marker = None
        if self._verdicts is not None:
            # The actor knows all packs' cells, and perhaps later epochs than a checkpoint's.
            for cell_id, epoch in ray.get(self._verdicts.pruned.remote()).items():
                if cell_id in self._last and epoch <= self._training.epoch:
                    self._training.drop(cell_id)
        # Each seed of a function has the limit for itself, and fails by itself.
        own_limits = isinstance(self._training, FunctionTraining)
        with nullcontext() if own_limits else time_limit(self._epoch_limit_s, self._training.epoch + 1):
            # No epoch is left if the checkpoint of an ended training was restored.
            records = next(self._training, [])
        # A cell's rows are next to each other.
        by_cell = groupby(records, lambda record: record.cell_id)
        cells = [self._report(cell_id, list(own)) for cell_id, own in by_cell]
        return {"epoch": self._training.epoch, "cells": cells, "done": not self._training.rows}

    def _report(self, cell_id: str, records: list[EpochRecord]) -> dict[str, Any]:
        # A seed that ended earlier has no record, a failed one no value: the last counts.
        last = self._last[cell_id]
        for record in records:
            if not math.isnan(value := record.figure(self._objective)):
                last[record.seed] = value
        return {
            "cell_id": cell_id,
            "code_id": self._code_ids[cell_id],
            # A function that has ended reports its last epoch again.
            "epoch": max(record.epoch for record in records),
            "objective": sum(last.values()) / len(last) if last else math.nan,
            "ended": all(record.status != "running" for record in records),
            "records": [asdict(record) for record in records],
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the state of the training, tensors and plain numbers only."""
        state = {"training": self._training.state_dict(), "last": self._last}
        torch.save(state, Path(checkpoint_dir, "training.pt"))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from a checkpoint's folder, with the bits of a training that never stopped."""
        # With weights_only, a file that was tampered with cannot run code.
        state = torch.load(Path(checkpoint, "training.pt"), weights_only=True, map_location="cpu")
        self._training.load_state_dict(state["training"])
        self._last = state["last"]


def _start(
    cells: "Mapping[TrainingSettings, Sequence[int]]", config: Mapping[str, Any]
) -> "Training | FunctionTraining":
    first = next(iter(cells))
    if is_function(first.model):
        if config["device"] == "cpu":
            hide_gpus()
        limits = Limits(config["objective"], float(config["epoch_limit_s"]))
        if config["per_seed"]:
            return ActorTraining(first, cells[first], limits, config["per_seed"], config["threads"])
        started = {}
        for cell, seeds in cells.items():
            for seed in seeds:
                started[cell.cell_id, seed] = SeedTraining(find_model(cell.model), cell, seed, limits)
        return FunctionTraining(started)
    pool = find_model(first.model).load(first, config["data_dir"])
    return start_training(cells, pool, config["device"], IDLE_SHARE if config["device"] == "cuda" else 0.0)
