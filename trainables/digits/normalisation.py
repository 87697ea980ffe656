"""Batch normalisation over a stack (Ioffe and Szegedy, ICML 2015), with PyTorch's eps of 1e-5.

A training step normalises by the moments of its batch, an evaluation by those of all training
pairs, measured with the parameters that it evaluates: no running averages are kept as state
(docs/decisions/0009). A layer has one set of moments for each of its towers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from trainables.engine.layers import Layer

Moments = dict[str, tuple[Tensor, Tensor]]  # of each layer, means and variances [K * towers * out]


def norm_of(layer: Layer) -> Layer:
    """Return the scales and shifts that follow a layer: one for each channel or unit."""
    return Layer(f"{layer.name}_norm", layer.weight[:1], layer.towers, (layer.name,), layer.joint)


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of those of the unpacked ``layers`` that have one; outputs of others pass.

    With ``moments`` None, the batch's own are used. Else a layer's are read from ``moments``, or
    measured on the batch and put there if there are none yet.
    """

    layers: Mapping[str, tuple[Tensor, Tensor]]
    moments: Moments | None

    def __bool__(self) -> bool:
        return any(name.endswith("_norm") for name in self.layers)

    def channels(self, name: str, inputs: Tensor) -> Tensor:
        """Normalise the outputs ``[N, K * towers * out, ...]`` of a layer."""
        if f"{name}_norm" not in self.layers:
            return inputs
        weight, bias = self.layers[f"{name}_norm"]
        scale, shift = weight.flatten(), bias.flatten()
        if self.moments is None:
            return F.batch_norm(inputs, None, None, scale, shift, training=True)
        measured = name not in self.moments
        if measured:
            self.moments[name] = inputs.new_zeros(len(scale)), inputs.new_ones(len(scale))
        # With momentum 1, PyTorch's running moments become those of this batch.
        return F.batch_norm(inputs, *self.moments[name], scale, shift, training=measured, momentum=1.0)

    def units(self, name: str, inputs: Tensor) -> Tensor:
        """Normalise a linear layer's ``[G, B, out]``; G is K for pairs, or 2K for images."""
        if f"{name}_norm" not in self.layers:
            return inputs
        replicates, towers = self.layers[f"{name}_norm"][0].shape[:2]
        grouped = inputs.unflatten(0, (replicates, -1, towers)).permute(3, 1, 0, 2, 4)  # [B, ., K, towers, out]
        normed = self.channels(name, grouped.flatten(0, 1).flatten(1)).view(grouped.shape)
        return normed.permute(2, 1, 3, 0, 4).flatten(0, 2)
