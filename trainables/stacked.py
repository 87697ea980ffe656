"""Layers, optimiser, plateau schedule and patience over a replicate axis K.

The parameters of K replicates of a model are one matrix ``[K, P]``, a row a replicate. Layers read it as views; one
backward pass fills one gradient matrix; Adam is one fused call; dropping a finished replicate is dropping a row.
A layer that both images share has one tower, a layer that each image has for itself has two, and is otherwise the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.examples import Examples
from trainables.streams import random_bits, stream_keys, uniform

Schedule = TypeVar("Schedule", "Plateau", "Patience")


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer; ``weight`` is its shape as ``nn.Conv2d`` or ``nn.Linear`` stores it, or
    that of the scales ``[out]`` of a normalisation.

    ``reads`` names the layers whose outputs go into it, or "image". A ``joint`` layer works once for the pair and reads
    both images' outputs of a layer that is not.
    """

    name: str
    weight: tuple[int, ...]
    towers: int = 1
    reads: tuple[str, ...] = ("image",)
    joint: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of weights and biases of a replicate, all towers together."""
        return self.towers * math.prod(self.weight), self.towers * self.weight[0]


@dataclass(frozen=True)
class StackedExamples:
    """The examples of K replicates: inputs ``[K, n, ...]``, labels ``[K, n, ...]``."""

    inputs: Tensor
    labels: Tensor

    @classmethod
    def of(cls, replicates: Sequence[Examples], device: torch.device) -> Self:
        """Stack the examples of each replicate; all have the same number."""
        if not replicates:  # all have ended
            return cls(torch.empty(0, 0), torch.empty(0, 0))
        inputs = torch.stack([examples.inputs for examples in replicates])
        return cls(inputs.to(device), torch.stack([examples.labels for examples in replicates]).to(device))

    def __len__(self) -> int:
        return self.labels.shape[1]

    def batch(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Gather examples by ``order`` ``[K, B]``: inputs ``[K, B, ...]``, labels ``[K, B, ...]``.

        An order ``[K, B, 2]`` makes pairs of images by their numbers: those of pair i are 2i and 2i + 1.
        """
        inputs, labels = self.inputs, self.labels
        if order.dim() == 3:
            inputs, labels = inputs.flatten(1, 2), labels.flatten(1, 2)
        rows = torch.arange(len(order), device=order.device).view(-1, *[1] * (order.dim() - 1))
        return inputs[rows, order], labels[rows, order]

    def chunk(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples from start to stop in their own order, shaped as a batch."""
        return self.inputs[:, start:stop], self.labels[:, start:stop]

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates but those at ``rows`` (int64)."""
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows])


def parameter_count(layers: Sequence[Layer]) -> int:
    """Parameters of one replicate, P."""
    return sum(sum(layer.sizes) for layer in layers)


def initial_parameters(layers: Sequence[Layer], seeds: Sequence[int], device: torch.device) -> Tensor:
    """Draw ``[K, P]`` uniformly within 1 / sqrt(fan-in), PyTorch's default for convolutions and linear layers.

    A normalisation starts with scales of 1 and shifts of 0.
    Every tower has a stream of its own, so a shared layer starts as the left tower of its unshared twin does.
    """
    blocks: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
    columns: list[Tensor] = []
    for layer in layers:
        bound = 1 / math.sqrt(math.prod(layer.weight[1:]))
        n_weights, n_biases = math.prod(layer.weight), layer.weight[0]
        if len(layer.weight) == 1:  # a normalisation
            ones = torch.ones(len(seeds), layer.sizes[0], device=device)
            columns += [ones, torch.zeros_like(ones)]
            continue
        for tower in range(layer.towers):
            keys = stream_keys(seeds, f"init/{layer.name}/{tower}", device)
            values = (uniform(keys, n_weights + n_biases) * 2 - 1) * bound
            blocks[layer.name, tower] = (values[:, :n_weights], values[:, n_weights:])
        towers = [blocks[layer.name, tower] for tower in range(layer.towers)]
        columns += [weights for weights, _ in towers] + [biases for _, biases in towers]
    return torch.cat(columns, dim=1)


def unpack(parameters: Tensor, layers: Sequence[Layer]) -> dict[str, tuple[Tensor, Tensor]]:
    """View ``[K, P]`` as each layer's weights ``[K, towers, *weight]`` and biases ``[K, towers, out]``."""
    pieces = iter(parameters.split([size for layer in layers for size in layer.sizes], dim=1))
    return {
        layer.name: (
            next(pieces).unflatten(1, (layer.towers, *layer.weight)),
            next(pieces).unflatten(1, (layer.towers, layer.weight[0])),
        )
        for layer in layers
    }


def conv(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve ``[B, G * in, H, W]`` with ``[K, towers, out, in, h, w]``, each image by its own tower.

    G is 2K, both images of each replicate, or K * towers, as ``by_tower`` has it.
    """
    groups = images.shape[1] // weight.shape[3]
    each = groups // len(weight)
    return F.conv2d(images, per_image(weight, each).flatten(0, 1), per_image(bias, each).flatten(), groups=groups)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiply ``[N, B, in]`` by N matrices ``[N, out, in]`` and add ``[N, out]``."""
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT)


def per_image(parameter: Tensor, images: int = 2) -> Tensor:
    """Give each of the G images of all replicates its tower: ``[K, towers, ...]`` to ``[G, ...]``."""
    return parameter.expand(-1, images, *parameter.shape[2:]).flatten(0, 1)


def by_tower(images: Tensor, towers: int) -> Tensor:
    """Put what one tower sees into one batch: ``[K, B, 2, ...]`` to ``[B * 2 / towers, K * towers, ...]``."""
    replicates, pairs, _, *each = images.shape
    sides = images.reshape(replicates, pairs, -1, towers, *each)
    return sides.movedim(0, 2).flatten(2, 3).flatten(0, 1)


def dropout_masks(keys: Tensor, count: int, probability: float | Tensor) -> Tensor:
    """Return ``[K, count]`` float32: 0 with the given probability, else 1 / (1 - probability).

    The probability is one for all or ``[K]`` (float64). Where it is 0 all are 1, and multiplying by 1 changes no bit.
    """
    probabilities = torch.as_tensor(probability, dtype=torch.float64, device=keys.device).reshape(-1, 1)
    dropped = (probabilities * 2**32).round().clamp(max=2**32 - 1)  # of 2**32 values; all would not fit an int32
    kept = random_bits(keys, count) >= (dropped - 2**31).to(torch.int32)
    return kept.float().mul_((1 / (1 - probabilities)).float())


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
