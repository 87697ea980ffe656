"""Seeds of a function as Ray actors, for trainings that fill a GPU or many cores each."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
import torch
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainables.config import TrainingSettings
from trainables.engine.device import compute_alike
from trainables.engine.record import EpochRecord
from trainables.functions.function_training import FunctionTraining, Row
from trainables.functions.seed_training import Limits, SeedTraining
from trainables.registry import find_model, hide_gpus, read_cell

CLOSE_S = 60.0  # how long a function may clean up


class SeedActor(SeedTraining):
    """The training of a seed, in the process of an actor."""

    def __init__(self, cell: Mapping[str, Any], seed: int, limits: Limits, threads: int) -> None:
        if not ray.get_gpu_ids():
            hide_gpus()
        compute_alike()
        torch.set_num_threads(threads)
        settings = read_cell(cell)
        super().__init__(find_model(settings.model), settings, seed, limits)


class ActorTraining(FunctionTraining):
    """The training of a cell whose seeds train at the same time, each by its own actor.

    An actor is started when it is first needed, in one bundle of this Tune trial's placement
    group. The seeds wait for one another after each epoch. If an actor is lost, all are, and
    what Ray raised is raised: the cell goes on from its checkpoint in new ones.
    """

    def __init__(
        self, cell: TrainingSettings, seeds: Sequence[int], limits: Limits, needs: Mapping[str, float], threads: int
    ) -> None:
        self._arguments: dict[Row, Any] = {}
        for seed in seeds:
            self._arguments[cell.cell_id, seed] = (cell.model_dump(), seed, limits, threads)
        super().__init__(self._arguments)
        self._needs = needs
        self._actors: dict[Row, Any] = {}

    def __next__(self) -> list[EpochRecord]:
        """Train one epoch of each seed; raise RayError if an actor is lost."""
        try:
            return super().__next__()
        except ray.exceptions.RayError:
            # Without waiting for the epochs of the others.
            while self._actors:
                ray.kill(self._actors.popitem()[1])
            raise

    def _call(self, rows: Iterable[Row], method: str, *arguments: Any) -> list[tuple[Row, Any]]:
        rows = list(rows)
        begun = [getattr(self._actor(row), method).remote(*arguments) for row in rows]
        return list(zip(rows, ray.get(begun), strict=True))

    def _actor(self, row: Row) -> Any:
        if row not in self._actors:
            group = get_current_placement_group()
            assert group is not None, "a Tune trial has a placement group"
            place = PlacementGroupSchedulingStrategy(group, list(self._arguments).index(row))
            how = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs.get("GPU", 0), "scheduling_strategy": place}
            self._actors[row] = ray.remote(SeedActor).options(**how).remote(*self._arguments[row])
        return self._actors[row]

    def _end(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if (actor := self._actors.pop(row, None)) is not None:
                # One that has died, or does not come to its end, is killed as any other.
                with suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
                    ray.get(actor.close.remote(), timeout=CLOSE_S)
                ray.kill(actor)
