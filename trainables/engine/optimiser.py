"""The state of a stack in training, all of it with one value or one row per replicate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

Schedule = TypeVar("Schedule", "Plateau", "Patience")


class StackedAdam:
    """Adam (Kingma and Ba, 2015; PyTorch's defaults) over ``[K, P]``, one rate per replicate."""

    # The fused kernel takes one learning rate, and an Adam step is linear in it: the kernel
    # computes the step at rate 1 into ``unit_step``, which then is scaled by row.
    def __init__(self, parameters: Tensor) -> None:
        self.unit_step = torch.zeros_like(parameters, requires_grad=False)
        captured = parameters.is_cuda  # a step there may be part of a CUDA graph
        self._adam = torch.optim.Adam([self.unit_step], lr=1.0, fused=True, capturable=captured)

    def step(self, parameters: Tensor, learning_rates: Tensor) -> None:
        """Move ``parameters`` in place along their gradient, and clear it; rates are ``[K]``."""
        self.unit_step.zero_()
        self.unit_step.grad = parameters.grad
        parameters.grad = None
        self._adam.step()
        with torch.no_grad():
            parameters.addcmul_(self.unit_step, learning_rates[:, None])

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the step count and both moments ``[K, P]``; {} before a step."""
        return {name: value.clone() for name, value in self._adam.state[self.unit_step].items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that ``state_dict`` returned."""
        device = self.unit_step.device
        self._adam.state[self.unit_step] = {name: x.to(device, copy=True) for name, x in state.items()}

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates except those at ``rows`` (int64)."""
        kept = type(self)(self.unit_step[rows])
        # The step count is one number for all replicates.
        kept.load_state_dict({name: x[rows] if x.dim() else x for name, x in self.state_dict().items()})
        return kept


@dataclass
class Plateau:
    """Learning rates ``[K]`` that fall on a plateau, as by PyTorch's ``ReduceLROnPlateau``."""

    learning_rate: Tensor
    best: Tensor
    bad_epochs: Tensor

    @classmethod
    def start(cls, learning_rates: Sequence[float]) -> Self:
        """Begin with these rates; the state is float64 on the CPU, like PyTorch's."""
        rates = torch.tensor(learning_rates, dtype=torch.float64)
        return cls(rates, torch.full_like(rates, math.inf), torch.zeros(len(rates), dtype=torch.int64))

    def update(self, losses: Tensor, factor: float, patience: int) -> None:
        """Take in the validation losses ``[K]`` (float64) of an epoch."""
        better = losses < self.best * (1 - 1e-4)
        self.best = torch.where(better, losses, self.best)
        self.bad_epochs = torch.where(better, 0, self.bad_epochs + 1)

        # As in PyTorch, a plateau is more than ``patience`` bad epochs in a row, a change of less
        # than 1e-8 is not made, and then counting starts again.
        due = self.bad_epochs > patience
        lower = self.learning_rate * factor
        self.learning_rate = torch.where(due & (self.learning_rate - lower > 1e-8), lower, self.learning_rate)
        self.bad_epochs = torch.where(due, 0, self.bad_epochs)


@dataclass
class Patience:
    """Early stopping ``[K]``, when the loss has had no new minimum for ``patience`` epochs."""

    best: Tensor
    waited: Tensor

    @classmethod
    def start(cls, replicates: int) -> Self:
        """Begin with no loss seen; the state is float64 on the CPU."""
        best = torch.full((replicates,), math.inf, dtype=torch.float64)
        return cls(best, torch.zeros(replicates, dtype=torch.int64))

    def update(self, losses: Tensor, patience: int) -> Tensor:
        """Take in the validation losses ``[K]`` of an epoch; return which stop, ``[K]`` bool."""
        better = losses < self.best
        self.best = torch.where(better, losses, self.best)
        self.waited = torch.where(better, 0, self.waited + 1)
        return self.waited >= patience


def keep(state: Schedule, rows: Tensor) -> Schedule:
    """Drop all replicates except those at ``rows`` (int64)."""
    return replace(state, **{name: value[rows] for name, value in vars(state).items()})


class Row(NamedTuple):
    """What one row of a stack trains: one seed of the cell with this id."""

    cell_id: str
    seed: int


@dataclass
class Stack:
    """The rows of a stack and all that their training changes."""

    rows: tuple[Row, ...]
    running: list[bool]  # rows still in training; the others are computed too, and ignored
    parameters: Tensor  # [K, P]
    adam: StackedAdam
    plateau: Plateau
    patience: Patience

    @classmethod
    def start(cls, rows: Sequence[Row], parameters: Tensor, learning_rates: Sequence[float]) -> Self:
        """Begin with first parameters ``[K, P]`` and learning rates, one per row."""
        running = [True] * len(rows)
        adam = StackedAdam(parameters)
        plateau, patience = Plateau.start(learning_rates), Patience.start(len(rows))
        return cls(tuple(rows), running, parameters.requires_grad_(), adam, plateau, patience)

    def keep(self, places: Sequence[int]) -> Self:
        """Drop all rows except those at ``places``."""
        on_cpu = torch.tensor(places, dtype=torch.int64)  # the schedules stay on the CPU
        index = on_cpu.to(self.parameters.device)
        return replace(
            self,
            rows=tuple(self.rows[place] for place in places),
            running=[self.running[place] for place in places],
            parameters=self.parameters.detach()[index].requires_grad_(),
            adam=self.adam.keep(index),
            plateau=keep(self.plateau, on_cpu),
            patience=keep(self.patience, on_cpu),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: tensors, numbers and lists only."""
        return {
            "stack": [tuple(row) for row in self.rows],
            "running": list(self.running),
            "parameters": self.parameters.detach().clone(),
            "adam": self.adam.state_dict(),
            "plateau": dict(vars(self.plateau)),
            "patience": dict(vars(self.patience)),
        }

    @classmethod
    def of_state_dict(cls, state: Mapping[str, Any], device: torch.device) -> Self:
        """Return the stack whose state ``state_dict`` returned."""
        parameters = state["parameters"].to(device, copy=True)
        adam = StackedAdam(parameters)
        adam.load_state_dict(state["adam"])
        rows = tuple(Row(*row) for row in state["stack"])
        plateau, patience = Plateau(**state["plateau"]), Patience(**state["patience"])
        return cls(rows, list(state["running"]), parameters.requires_grad_(), adam, plateau, patience)
