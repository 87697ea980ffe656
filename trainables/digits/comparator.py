"""The report's network: it says whether the first of two digits is not the larger.

    per image    the classifier's layers: 128 features, 10 digit logits
    both images  256 features -> 64 -> 32 | with 2 x 10 digit logits, 52 -> 32 | 2 target logits

Leaky ReLU (0.01) follows each layer except the logits. Beside the classifier's dropout,
units are dropped after both comparison layers and after the 32-unit output layer.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.digits.classifier import (
    cross_entropy,
    dense,
    digit_layers,
    digit_losses,
    digit_mask_units,
    first_not_larger,
    hidden_units,
    read_digits,
    right_digits,
    with_norms,
)
from trainables.digits.normalisation import Moments, Normalisation
from trainables.digits.pairs import PairsNetwork
from trainables.digits.settings import CellConfig
from trainables.engine.layers import Layer, linear, unpack

COMPARE_UNITS = (64, 32)
OUTPUT_UNITS = 32


class Outputs(NamedTuple):
    """Raw logits of a batch of B pairs: target ``[K, B, 2]``, digits ``[K, 2, B, 10]``."""

    target: Tensor
    digits: Tensor


class Comparator(PairsNetwork):
    """K replicates of the comparator with the sharing of a cell."""

    def __init__(self, config: CellConfig) -> None:
        self.settings = config
        of_digits = digit_layers(config)
        first, second, last = hidden_units(config, *COMPARE_UNITS, OUTPUT_UNITS)
        features = next(layer.weight[1] for layer in of_digits if layer.name == "digit1")

        # The last hidden layer reads the comparison and the 2 x 10 digit logits.
        of_pairs = (
            Layer("compare1", (first, 2 * features), reads=("conv2",), joint=True),
            Layer("compare2", (second, first), reads=("compare1",), joint=True),
            Layer("output1", (last, second + 2 * 10), reads=("compare2", "digit2"), joint=True),
            Layer("output2", (2, last), reads=("output1",), joint=True),
        )
        self.layers = (*of_digits, *with_norms(of_pairs, config))
        self._mask_units = (digit_mask_units(of_digits), first, second, last)
        self.mask_units = sum(self._mask_units)

    def forward(
        self, parameters: Tensor, images: Tensor, masks: Tensor | None, moments: Moments | None = None
    ) -> Outputs:
        """Compute the logits of images ``[K, B, 2, 14, 14]``, first and second of each pair.

        ``masks`` are ``[K, B * mask_units]`` or None; ``moments`` are Normalisation's.
        """
        layers = unpack(parameters, self.layers)
        norm = Normalisation(layers, moments)
        reading, first, second, last = self._split_masks(masks, images.shape[1])
        features, digits = read_digits(layers, images, reading, norm)

        both = features.transpose(1, 2).flatten(2)  # [K, B, 256]
        compared = dense(layers, "compare1", both, norm) * first
        compared = dense(layers, "compare2", compared, norm) * second
        gathered = torch.cat([compared, digits[:, 0], digits[:, 1]], dim=2)
        hidden = dense(layers, "output1", gathered, norm) * last
        weight, bias = layers["output2"]
        return Outputs(linear(hidden, weight.squeeze(1), bias.squeeze(1)), digits)

    def outputs(self, target: Tensor, digits: Tensor) -> Outputs:
        """Put logits together."""
        return Outputs(target, digits)

    def digits_weight(self, varied: Mapping[str, Tensor]) -> Tensor:
        """Return the weight of the digits' loss, ``[K]``."""
        return varied["aux_weight"]

    def losses(self, outputs: Outputs, digits: Tensor, varied: Mapping[str, Tensor]) -> Tensor:
        """Return CE(target) + aux_weight * (CE(left digit) + CE(right digit)) / 2, ``[K]``."""
        on_target = cross_entropy(outputs.target, first_not_larger(digits)).mean(1)
        return on_target + varied["aux_weight"].to(on_target.dtype) * digit_losses(outputs.digits, digits)

    def sums(self, outputs: Outputs, digits: Tensor) -> dict[str, Tensor]:
        """Count right answers, a digit as half of one; digits ``[K, B, 2]``."""
        right_target = outputs.target.argmax(-1) == first_not_larger(digits)
        return {"accuracy": right_target.sum(1), "digit_accuracy": right_digits(outputs.digits, digits) / 2}

    def _split_masks(
        self, masks: Tensor | None, batch: int
    ) -> tuple[Tensor | None, Tensor | float, Tensor | float, Tensor | float]:
        if masks is None:
            return None, 1.0, 1.0, 1.0
        reading, *others = masks.split([batch * units for units in self._mask_units], dim=1)
        first, second, last = (mask.unflatten(1, (batch, -1)) for mask in others)
        return reading, first, second, last
