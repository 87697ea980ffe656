"""The state of a stack in training, all of it with one value or one row per replicate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, TypeVar

import torch
from torch import Tensor
from torch.optim.adam import adam

from trainables.config import CellSettings

Schedule = TypeVar("Schedule", "Plateau", "Patience")
# PyTorch's defaults, at rate 1 and without decay.
ADAM: dict[str, Any] = {"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
ADAM |= {"weight_decay": 0.0, "amsgrad": False, "maximize": False}


class Optimiser:
    """Adam, AdamW or SGD over ``[K, P]`` with one rate per replicate, each as PyTorch's.

    ``settings`` say which, with its momentum, weight decay and clipping; the columns in
    ``frozen`` ``[P]`` (bool) do not decay. Sources: Kingma and Ba (ICLR 2015), Loshchilov and
    Hutter (ICLR 2019), Sutskever et al. (ICML 2013).
    """

    # The fused kernel takes one learning rate, and a step is linear in it: the step at rate 1 is
    # computed into ``unit_step``, which then is scaled by row. All state stays in place (steps.py).
    def __init__(self, parameters: Tensor, settings: CellSettings, frozen: Tensor | None = None) -> None:
        self.unit_step = torch.zeros_like(parameters, requires_grad=False)
        self._settings = settings
        self.frozen = frozen
        self._decay = torch.full_like(self.unit_step[:1], settings.weight_decay)
        if frozen is not None:
            self._decay[:, frozen] = 0.0
        if settings.optimizer == "sgd":
            self.state = {"unit_step": self.unit_step}
        else:
            step = torch.zeros((), dtype=torch.float32, device=parameters.device)
            moments = {name: torch.zeros_like(self.unit_step) for name in ("exp_avg", "exp_avg_sq")}
            self.state = {"step": step} | moments

    @torch.no_grad()
    def step(self, parameters: Tensor, learning_rates: Tensor) -> None:
        """Move ``parameters`` in place along their gradient, and clear it; rates are ``[K]``."""
        gradient, parameters.grad = parameters.grad, None
        if gradient is None:
            raise ValueError("the parameters have no gradient: expected a step after a backward pass")
        rates = learning_rates[:, None]
        if self._settings.clip_norm:
            # As torch.nn.utils.clip_grad_norm_ does for the gradient of one replicate.
            norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient *= (self._settings.clip_norm / (norms + 1e-6)).clamp(max=1.0)

        # AdamW shrinks the parameters; the others add the gradient of half the squared norm.
        if self._settings.weight_decay and self._settings.optimizer == "adamw":
            parameters.addcmul_(parameters, rates * self._decay, value=-1)
        elif self._settings.weight_decay:
            gradient.addcmul_(parameters, self._decay)

        if self._settings.optimizer == "sgd":
            self.unit_step.mul_(self._settings.momentum).sub_(gradient)
        else:
            self.unit_step.zero_()
            mean, square, step = ([self.state[name]] for name in ("exp_avg", "exp_avg_sq", "step"))
            # Not the class Adam: it imports torch._dynamo, which takes each worker seconds.
            adam([self.unit_step], [gradient], mean, square, [], step, fused=True, **ADAM)
        parameters.addcmul_(self.unit_step, rates)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of what a step changes."""
        return {name: value.clone() for name, value in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that ``state_dict`` returned."""
        for name, value in state.items():
            self.state[name].copy_(value)

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates except those at ``rows`` (int64)."""
        kept = type(self)(self.unit_step[rows], self._settings, self.frozen)
        # Adam's step count is one number for all replicates.
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
    optimiser: Optimiser
    plateau: Plateau
    patience: Patience
    settings: CellSettings  # of one of the cells: only learning rates differ here

    @classmethod
    def start(cls, cells: Mapping[Row, CellSettings], parameters: Tensor, frozen: Tensor | None = None) -> Self:
        """Begin with first parameters ``[K, P]``, one row of them for each of ``cells``."""
        settings = next(iter(cells.values()))
        plateau = Plateau.start([cell.learning_rate for cell in cells.values()])
        optimiser = Optimiser(parameters, settings, frozen)
        running, patience = [True] * len(cells), Patience.start(len(cells))
        return cls(tuple(cells), running, parameters.requires_grad_(), optimiser, plateau, patience, settings)

    def learning_rates(self, epoch: int) -> Tensor:
        """Return the rates ``[K]`` (float64, CPU) of an epoch, the first of which is 0."""
        warmup, epochs = self.settings.warmup_epochs, self.settings.max_epochs
        rates = self.plateau.learning_rate
        # As PyTorch's LinearLR with start_factor 1 / (warmup + 1), then CosineAnnealingLR to 0.
        if epoch < warmup:
            return rates * ((epoch + 1) / (warmup + 1))
        if self.settings.schedule == "cosine":
            return rates * ((1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2)
        return rates

    def end_epoch(self, epoch: int, val_loss: Tensor) -> Tensor:
        """Take in the losses ``[K]`` after so many epochs; return which rows stop, ``[K]`` bool."""
        if self.settings.schedule == "plateau" and epoch > self.settings.warmup_epochs:
            self.plateau.update(val_loss, self.settings.plateau_factor, self.settings.plateau_patience)
        return self.patience.update(val_loss, self.settings.stop_patience)

    def keep(self, places: Sequence[int]) -> Self:
        """Drop all rows except those at ``places``."""
        on_cpu = torch.tensor(places, dtype=torch.int64)  # the schedules stay on the CPU
        index = on_cpu.to(self.parameters.device)
        return replace(
            self,
            rows=tuple(self.rows[place] for place in places),
            running=[self.running[place] for place in places],
            parameters=self.parameters.detach()[index].requires_grad_(),
            optimiser=self.optimiser.keep(index),
            plateau=keep(self.plateau, on_cpu),
            patience=keep(self.patience, on_cpu),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: tensors, numbers and lists only."""
        return {
            "stack": [tuple(row) for row in self.rows],
            "running": list(self.running),
            "parameters": self.parameters.detach().clone(),
            "optimiser": self.optimiser.state_dict(),
            "plateau": dict(vars(self.plateau)),
            "patience": dict(vars(self.patience)),
        }

    def restored(self, state: Mapping[str, Any]) -> Self:
        """Return the stack of the same training whose state ``state_dict`` returned."""
        parameters = state["parameters"].to(self.parameters.device, copy=True)
        optimiser = Optimiser(parameters, self.settings, self.optimiser.frozen)
        optimiser.load_state_dict(state["optimiser"])
        return replace(
            self,
            rows=tuple(Row(*row) for row in state["stack"]),
            running=list(state["running"]),
            parameters=parameters.requires_grad_(),
            optimiser=optimiser,
            plateau=Plateau(**state["plateau"]),
            patience=Patience(**state["patience"]),
        )
