"""Each seed of a function as a Ray actor of its own, for trainings that fill a GPU or many cores each."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
import torch
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainables.config import TrainingSettings
from trainables.engine.record import EpochRecord
from trainables.functions.function_training import FunctionTraining, Row
from trainables.functions.seed_training import Limits
from trainables.registry import hide_gpus, read_cell, start_seed

CLOSE_S = 60.0  # how long a function may clean up


class SeedActor:
    """The training of a seed, in the process of an actor."""

    def __init__(self, cell: Mapping[str, Any], seed: int, limits: Limits, threads: int) -> None:
        if not ray.get_gpu_ids():
            hide_gpus()
        torch.backends.cudnn.deterministic = True
        torch.set_num_threads(threads)
        self._training = start_seed(read_cell(cell), seed, limits)

    def train_to(self, epoch: int) -> list[EpochRecord]:
        """Train until an epoch is reached or the training ends; return the records."""
        return self._training.train_to(epoch)

    def save(self) -> dict[str, Any]:
        """Return what ``load`` needs."""
        return self._training.save()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._training.load(saved)

    def close(self) -> None:
        """End the training where it is."""
        self._training.close()


class RemoteSeed:
    """A seed whose actor is started when it is first needed, in one bundle of this Tune trial's placement group."""

    def __init__(self, arguments: tuple[Any, ...], bundle: int, needs: Mapping[str, float]) -> None:
        self._arguments, self._bundle, self._needs = arguments, bundle, needs
        self._actor: Any = None

    def _started(self) -> Any:
        if self._actor is None:
            group = get_current_placement_group()
            assert group is not None, "a Tune trial has a placement group"
            place = PlacementGroupSchedulingStrategy(group, self._bundle)
            how = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs.get("GPU", 0), "scheduling_strategy": place}
            self._actor = ray.remote(SeedActor).options(**how).remote(*self._arguments)
        return self._actor

    def begin(self, epoch: int) -> Callable[[], list[EpochRecord]]:
        """Let the actor train, and return the call that waits for its records."""
        records = self._started().train_to.remote(epoch)
        return lambda: ray.get(records)

    def save(self) -> dict[str, Any]:
        """Return what ``load`` needs."""
        saved: dict[str, Any] = ray.get(self._started().save.remote())
        return saved

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        ray.get(self._started().load.remote(saved))

    def close(self) -> None:
        """End the training where it is, then its process."""
        if self._actor is not None:
            # One that has died, or does not come to its end, is killed as any other.
            with suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
                ray.get(self._actor.close.remote(), timeout=CLOSE_S)
            self.kill()

    def kill(self) -> None:
        """End the process where it is."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None


class ActorTraining(FunctionTraining):
    """The training of a cell whose seeds train at the same time, each by its own actor.

    The seeds wait for one another after each epoch. If an actor is lost, all are, and what Ray raised
    is raised: the cell goes on from its checkpoint in new ones.
    """

    def __init__(
        self, cell: TrainingSettings, seeds: Sequence[int], limits: Limits, needs: Mapping[str, float], threads: int
    ) -> None:
        self._remote: dict[Row, RemoteSeed] = {}
        for bundle, seed in enumerate(seeds):
            arguments = (cell.model_dump(), seed, limits, threads)
            self._remote[cell.cell_id, seed] = RemoteSeed(arguments, bundle, needs)
        super().__init__(self._remote)

    def __next__(self) -> list[EpochRecord]:
        """Train one epoch of each seed; raise RayError if an actor is lost."""
        try:
            return super().__next__()
        except ray.exceptions.RayError:
            for seed in self._remote.values():
                seed.kill()  # without waiting for the epochs of the others
            raise
