"""The report's network: it says whether the first of two digits is not the larger.

    per image    the classifier's layers: 128 features, 10 digit logits
    both images  256 features -> 64 -> 32 | with the 2 x 10 digit logits, 52 -> 32 | 2 target logits

Leaky ReLU (0.01) after each layer but the logits. Dropout of units, beside the classifier's: after both comparison
layers and the 32-unit output layer.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.classifier import (
    DIGIT_MASK_UNITS,
    cross_entropy,
    digit_layers,
    digit_losses,
    first_not_larger,
    read_digits,
    right_digits,
)
from trainables.config import CellConfig
from trainables.stacked import Layer, Right, linear, unpack

COMPARE_UNITS, OUTPUT_UNITS = (64, 32), 32


class Outputs(NamedTuple):
    """Raw logits of a batch of B pairs: target ``[K, B, 2]``, digits ``[K, 2, B, 10]``."""

    target: Tensor
    digits: Tensor


class Comparator:
    """K replicates of the comparator with the sharing of a cell."""

    mask_units = DIGIT_MASK_UNITS + sum(COMPARE_UNITS) + OUTPUT_UNITS

    def __init__(self, config: CellConfig) -> None:
        self.layers = (
            *digit_layers(config.sharing),
            Layer("compare1", (COMPARE_UNITS[0], 256), reads=("conv2",), joint=True),
            Layer("compare2", (COMPARE_UNITS[1], COMPARE_UNITS[0]), reads=("compare1",), joint=True),
            Layer("output1", (OUTPUT_UNITS, COMPARE_UNITS[1] + 2 * 10), reads=("compare2", "digit2"), joint=True),
            Layer("output2", (2, OUTPUT_UNITS), reads=("output1",), joint=True),
        )

    def forward(self, parameters: Tensor, images: Tensor, masks: Tensor | None) -> Outputs:
        """Compute the logits of images ``[K, B, 2, 14, 14]``, first and second of each pair.

        ``masks`` is ``[K, B * mask_units]``, or None to leave dropout out.
        """
        layers = unpack(parameters, self.layers)
        reading, first, second, last = _split_masks(masks, images.shape[1])
        features, digits = read_digits(layers, images, reading)

        both = features.transpose(1, 2).flatten(2)  # [K, B, 256]
        compare1, compare2, output1, output2 = (
            [p.squeeze(1) for p in layers[name]] for name in ("compare1", "compare2", "output1", "output2")
        )
        compared = F.leaky_relu(linear(both, *compare1)) * first
        compared = F.leaky_relu(linear(compared, *compare2)) * second
        gathered = torch.cat([compared, digits[:, 0], digits[:, 1]], dim=2)
        target = linear(F.leaky_relu(linear(gathered, *output1)) * last, *output2)
        return Outputs(target, digits)

    def losses(self, outputs: Outputs, digits: Tensor, aux_weights: Tensor) -> Tensor:
        """Return CE(target) + aux_weight * (CE(left digit) + CE(right digit)) / 2, ``[K]``; digits ``[K, B, 2]``."""
        on_target = cross_entropy(outputs.target, first_not_larger(digits)).mean(1)
        return on_target + aux_weights.to(on_target.dtype) * digit_losses(outputs.digits, digits)

    def correct(self, outputs: Outputs, digits: Tensor) -> Right:
        """Count right answers; digits ``[K, B, 2]``."""
        right_target = outputs.target.argmax(-1) == first_not_larger(digits)
        return Right(right_target.sum(1), right_digits(outputs.digits, digits))


def _split_masks(
    masks: Tensor | None, batch: int
) -> tuple[Tensor | None, Tensor | float, Tensor | float, Tensor | float]:
    """Cut off the masks of the digits, then those of the other three layers in the shapes in which they multiply."""
    if masks is None:
        return None, 1.0, 1.0, 1.0
    reading, *rest = masks.split([batch * n for n in (DIGIT_MASK_UNITS, *COMPARE_UNITS, OUTPUT_UNITS)], dim=1)
    first, second, last = (mask.unflatten(1, (batch, -1)) for mask in rest)
    return reading, first, second, last
