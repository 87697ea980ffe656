"""Layers and dropout over a replicate axis K.

The parameters of K replicates are one matrix ``[K, P]``. Layers read it as views, so one
backward pass fills one gradient matrix, and Adam is one fused call. An example may be a pair
of images: a layer that both share has one tower, a layer that each has for itself has two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.engine.streams import random_bits, stream_keys, uniform


@dataclass(frozen=True)
class Layer:
    """A convolution, a linear layer, or the scales and shifts of a normalisation.

    ``weight`` is the shape of its weights as PyTorch stores them; of a normalisation, ``[out]``.
    ``reads`` names the layers whose outputs go into it, or "image". A ``joint`` layer works once
    for the pair, and reads both images' outputs of a layer that is not joint.
    """

    name: str
    weight: tuple[int, ...]
    towers: int = 1
    reads: tuple[str, ...] = ("image",)
    joint: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of weights and biases of one replicate, all towers together."""
        return self.towers * math.prod(self.weight), self.towers * self.weight[0]


def parameter_count(layers: Sequence[Layer]) -> int:
    """Return the number of parameters of one replicate, P."""
    return sum(sum(layer.sizes) for layer in layers)


def initial_parameters(layers: Sequence[Layer], seeds: Sequence[int], device: torch.device) -> Tensor:
    """Draw ``[K, P]`` uniformly within 1 / sqrt(fan-in), PyTorch's default for these layers."""
    columns: list[Tensor] = []
    for layer in layers:
        # A normalisation starts with scales of 1 and shifts of 0.
        if len(layer.weight) == 1:
            ones = torch.ones(len(seeds), layer.sizes[0], device=device)
            columns += [ones, torch.zeros_like(ones)]
            continue
        bound = 1 / math.sqrt(math.prod(layer.weight[1:]))
        sizes = [math.prod(layer.weight), layer.weight[0]]
        towers = []
        for tower in range(layer.towers):
            # A stream for each: a shared layer starts like the left tower of its unshared twin.
            keys = stream_keys(seeds, f"init/{layer.name}/{tower}", device)
            values = (uniform(keys, sum(sizes)) * 2 - 1) * bound
            towers.append(values.split(sizes, dim=1))
        columns += chain(*zip(*towers, strict=True))  # the weights of all towers, then their biases
    return torch.cat(columns, dim=1)


def unpack(parameters: Tensor, layers: Sequence[Layer]) -> dict[str, tuple[Tensor, Tensor]]:
    """View ``[K, P]`` by layer as ``[K, towers, *weight]`` and biases ``[K, towers, out]``."""
    pieces = iter(parameters.split([size for layer in layers for size in layer.sizes], dim=1))
    unpacked = {}
    for layer in layers:
        weights = next(pieces).unflatten(1, (layer.towers, *layer.weight))
        biases = next(pieces).unflatten(1, (layer.towers, layer.weight[0]))
        unpacked[layer.name] = (weights, biases)
    return unpacked


def conv(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve ``[B, G * in, H, W]`` with ``[K, towers, out, in, h, w]``, image by tower.

    G is 2K, both images of each replicate, or K * towers, as ``by_tower`` returns them.
    """
    groups = images.shape[1] // weight.shape[3]
    each = groups // len(weight)
    kernels = per_image(weight, each).flatten(0, 1)
    return F.conv2d(images, kernels, per_image(bias, each).flatten(), groups=groups)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiply ``[N, B, in]`` by N matrices ``[N, out, in]`` and add ``[N, out]``."""
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT)


def per_image(parameter: Tensor, images: int = 2) -> Tensor:
    """Give each of G images its tower: ``[K, towers, ...]`` to ``[G, ...]``."""
    return parameter.expand(-1, images, *parameter.shape[2:]).flatten(0, 1)


def by_tower(images: Tensor, towers: int) -> Tensor:
    """Put what a tower sees into one batch: to ``[B * 2 / towers, K * towers, ...]``."""
    replicates, pairs, _, *each = images.shape
    sides = images.reshape(replicates, pairs, -1, towers, *each)
    return sides.movedim(0, 2).flatten(2, 3).flatten(0, 1)


def dropout_masks(keys: Tensor, count: int, probability: float | Tensor) -> Tensor:
    """Return ``[K, count]`` float32: 0 with probability p, one or ``[K]``; else 1 / (1 - p)."""
    probabilities = torch.as_tensor(probability, dtype=torch.float64, device=keys.device).reshape(-1, 1)
    # How many of the 2**32 values mean dropped. Not all of them: that number would not fit an
    # int32. With none dropped, all masks are 1, and multiplying by 1 changes no bit.
    dropped = (probabilities * 2**32).round().clamp(max=2**32 - 1)
    kept = random_bits(keys, count) >= (dropped - 2**31).to(torch.int32)
    return kept.float().mul_((1 / (1 - probabilities)).float())
