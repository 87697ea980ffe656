"""Batch normalisation over a stack (Ioffe and Szegedy, ICML 2015), PyTorch's operator with its eps of 1e-5.

A training step normalises by the moments of its batch. An evaluation normalises by those of all training pairs as they
are, which it measures with the parameters that it evaluates (docs/decisions/0009): nothing runs along as state. A layer
that both images share has one set of moments over both, a layer that each image has for itself one for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from trainables.engine.layers import Layer

Moments = dict[str, tuple[Tensor, Tensor]]  # of each layer, means and variances [K * towers * out]


def norm_of(layer: Layer) -> Layer:
    """Return the scales and shifts that follow a layer: one of each for each of its channels or units."""
    return Layer(f"{layer.name}_norm", layer.weight[:1], layer.towers, (layer.name,), layer.joint)


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of those of the unpacked ``layers`` that have one; others pass as they are.

    ``moments`` None stands for those of the batch. Else a layer's moments are those in it; where there are none yet,
    they are the batch's, and are put there.
    """

    layers: Mapping[str, tuple[Tensor, Tensor]]
    moments: Moments | None

    def __bool__(self) -> bool:
        return any(name.endswith("_norm") for name in self.layers)

    def channels(self, name: str, inputs: Tensor) -> Tensor:
        """Normalise the outputs ``[N, K * towers * out, ...]`` of a layer."""
        if f"{name}_norm" not in self.layers:
            return inputs
        scale, shift = (parameter.flatten() for parameter in self.layers[f"{name}_norm"])
        if self.moments is None:
            return F.batch_norm(inputs, None, None, scale, shift, training=True)
        measured = name not in self.moments
        if measured:
            self.moments[name] = inputs.new_zeros(len(scale)), inputs.new_ones(len(scale))
        # momentum 1: what PyTorch would let run along becomes this batch's own
        return F.batch_norm(inputs, *self.moments[name], scale, shift, training=measured, momentum=1.0)

    def units(self, name: str, inputs: Tensor) -> Tensor:
        """Normalise the outputs ``[G, B, out]`` of a linear layer, of K pairs or 2K images."""
        if f"{name}_norm" not in self.layers:
            return inputs
        replicates, towers = self.layers[f"{name}_norm"][0].shape[:2]
        grouped = inputs.unflatten(0, (replicates, -1, towers)).permute(3, 1, 0, 2, 4)  # [B, ., K, towers, out]
        return (
            self.channels(name, grouped.flatten(0, 1).flatten(1))
            .view(grouped.shape)
            .permute(2, 1, 3, 0, 4)
            .flatten(0, 2)
        )
