"""Adam, learning-rate plateaus and early stopping, for each replicate of a stack."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import torch
from torch import Tensor

Schedule = TypeVar("Schedule", "Plateau", "Patience")


class StackedAdam:
    """Adam (Kingma and Ba, 2015; PyTorch's defaults) over ``[K, P]`` with a learning rate a replicate.

    The fused kernel takes one learning rate, and an Adam step is linear in it: the kernel computes the step at rate 1
    into ``unit_step``, which then is scaled by row.
    """

    def __init__(self, parameters: Tensor) -> None:
        self.unit_step = torch.zeros_like(parameters, requires_grad=False)
        captured = parameters.is_cuda  # a step there may be part of a CUDA graph
        self._adam = torch.optim.Adam([self.unit_step], lr=1.0, fused=True, capturable=captured)

    def step(self, parameters: Tensor, learning_rates: Tensor) -> None:
        """Move ``parameters`` in place along ``parameters.grad``, and clear the gradient; rates are ``[K]``."""
        self.unit_step.zero_()
        self.unit_step.grad, parameters.grad = parameters.grad, None
        self._adam.step()
        with torch.no_grad():
            parameters.addcmul_(self.unit_step, learning_rates[:, None])

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the step count and both moments ``[K, P]``, or nothing before the first step."""
        return {name: value.clone() for name, value in self._adam.state[self.unit_step].items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state that ``state_dict`` returned."""
        device = self.unit_step.device
        self._adam.state[self.unit_step] = {name: x.to(device, copy=True) for name, x in state.items()}

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates but those at ``rows`` (int64)."""
        kept = type(self)(self.unit_step[rows])
        kept.load_state_dict({name: x[rows] if x.dim() else x for name, x in self.state_dict().items()})
        return kept


@dataclass
class Plateau:
    """Learning rates ``[K]`` that fall on a plateau, as ``torch.optim.lr_scheduler.ReduceLROnPlateau`` has it.

    An epoch is bad unless the loss is below ``best * (1 - 1e-4)``; after more than ``patience`` bad ones in a row the
    rate is multiplied by ``factor`` (unless that would change it by less than 1e-8) and counting starts anew.
    """

    learning_rate: Tensor
    best: Tensor
    bad_epochs: Tensor

    @classmethod
    def start(cls, learning_rates: Sequence[float]) -> Self:
        """Begin with these rates; the state is float64 on the CPU, as the ordinary scheduler's is."""
        rates = torch.tensor(learning_rates, dtype=torch.float64)
        return cls(rates, torch.full_like(rates, math.inf), torch.zeros(len(rates), dtype=torch.int64))

    def update(self, losses: Tensor, factor: float, patience: int) -> None:
        """Take in the validation losses ``[K]`` (float64) of an epoch."""
        better = losses < self.best * (1 - 1e-4)
        self.best = torch.where(better, losses, self.best)
        self.bad_epochs = torch.where(better, 0, self.bad_epochs + 1)
        due = self.bad_epochs > patience
        lower = self.learning_rate * factor
        self.learning_rate = torch.where(due & (self.learning_rate - lower > 1e-8), lower, self.learning_rate)
        self.bad_epochs = torch.where(due, 0, self.bad_epochs)


@dataclass
class Patience:
    """Early stopping ``[K]``: stop when the loss has not fallen below its minimum for ``patience`` epochs."""

    best: Tensor
    waited: Tensor

    @classmethod
    def start(cls, replicates: int) -> Self:
        """Begin with no loss seen; the state is float64 on the CPU."""
        return cls(
            torch.full((replicates,), math.inf, dtype=torch.float64),
            torch.zeros(replicates, dtype=torch.int64),
        )

    def update(self, losses: Tensor, patience: int) -> Tensor:
        """Take in the validation losses ``[K]`` of an epoch; return which replicates stop, ``[K]`` bool."""
        better = losses < self.best
        self.best = torch.where(better, losses, self.best)
        self.waited = torch.where(better, 0, self.waited + 1)
        return self.waited >= patience


def keep(state: Schedule, rows: Tensor) -> Schedule:
    """Drop all replicates but those at ``rows`` (int64)."""
    return replace(state, **{name: value[rows] for name, value in tensors_of(state).items()})


def tensors_of(state: Plateau | Patience) -> dict[str, Tensor]:
    """Return the ``[K]`` tensors of a schedule's state by name."""
    return {field.name: getattr(state, field.name) for field in fields(state)}
