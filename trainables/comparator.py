"""The report's network: it says whether the first of two digits is not the larger.

    per image    conv 1->16, 3x3 | max-pool 2 | conv 16->32, 3x3 | max-pool 2: 128 features | 128->64 | 10 digit logits
    both images  256 features -> 64 -> 32 | with the 2 x 10 digit logits, 52 -> 32 | 2 target logits

Leaky ReLU (0.01) after each pooling and each linear layer but the logits. Dropout: of channels after the second
convolution, of units after the 64-unit digit layer, both comparison layers and the 32-unit output layer.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.config import CellConfig
from trainables.stacked import Layer, conv, linear, per_image, unpack

CHANNELS, DIGIT_UNITS, COMPARE_UNITS, OUTPUT_UNITS = 32, 64, (64, 32), 32


class Outputs(NamedTuple):
    """Raw logits of a batch of B pairs: target ``[K, B, 2]``, digits ``[K, 2, B, 10]``."""

    target: Tensor
    digits: Tensor


class Comparator:
    """K replicates of the comparator with the sharing and auxiliary weight of a cell."""

    mask_units = 2 * (CHANNELS + DIGIT_UNITS) + sum(COMPARE_UNITS) + OUTPUT_UNITS

    def __init__(self, config: CellConfig) -> None:
        self.aux_weight = config.aux_weight
        towers = 1 if config.sharing else 2
        self.layers = (
            Layer("conv1", (16, 1, 3, 3), towers),
            Layer("conv2", (CHANNELS, 16, 3, 3), towers),
            Layer("digit1", (DIGIT_UNITS, 128), towers),
            Layer("digit2", (10, DIGIT_UNITS), towers),
            Layer("compare1", (COMPARE_UNITS[0], 256)),
            Layer("compare2", (COMPARE_UNITS[1], COMPARE_UNITS[0])),
            Layer("output1", (OUTPUT_UNITS, COMPARE_UNITS[1] + 2 * 10)),
            Layer("output2", (2, OUTPUT_UNITS)),
        )

    def forward(self, parameters: Tensor, images: Tensor, masks: Tensor | None) -> Outputs:
        """Compute the logits of images ``[B, G, 14, 14]`` (channels_last, G = 2K: first and second of each pair).

        ``masks`` is ``[K, B * mask_units]``, or None to leave dropout out.
        """
        layers = unpack(parameters, self.layers)
        replicates, batch = len(parameters), len(images)
        channel, digit, first, second, last = _split_masks(masks, replicates, batch)

        hidden = F.leaky_relu(F.max_pool2d(conv(images, *layers["conv1"]), 2))
        # The mask commutes with the pooling that the report has after it, and is four times smaller behind it.
        hidden = F.leaky_relu(F.max_pool2d(conv(hidden, *layers["conv2"]), 2) * channel)
        features = hidden.unflatten(1, (2 * replicates, CHANNELS)).transpose(0, 1).flatten(2)  # [G, B, 128]

        digit1, digit2 = ([per_image(p) for p in layers[name]] for name in ("digit1", "digit2"))
        digits = linear(F.leaky_relu(linear(features, *digit1)) * digit, *digit2)
        digits = digits.unflatten(0, (replicates, 2))

        both = features.unflatten(0, (replicates, 2)).transpose(1, 2).flatten(2)  # [K, B, 256]
        compare1, compare2, output1, output2 = (
            [p.squeeze(1) for p in layers[name]] for name in ("compare1", "compare2", "output1", "output2")
        )
        compared = F.leaky_relu(linear(both, *compare1)) * first
        compared = F.leaky_relu(linear(compared, *compare2)) * second
        gathered = torch.cat([compared, digits[:, 0], digits[:, 1]], dim=2)
        target = linear(F.leaky_relu(linear(gathered, *output1)) * last, *output2)
        return Outputs(target, digits)

    def losses(self, outputs: Outputs, digits: Tensor) -> Tensor:
        """Return CE(target) + aux_weight * (CE(left digit) + CE(right digit)) / 2, ``[K]``; digits ``[K, B, 2]``."""
        on_target = _cross_entropy(outputs.target, _target(digits)).mean(1)
        on_digits = _cross_entropy(outputs.digits, digits.mT).mean((1, 2))
        return on_target + self.aux_weight * on_digits

    def correct(self, outputs: Outputs, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Count right answers ``[K]`` on the target and on the digits."""
        right_target = outputs.target.argmax(-1) == _target(digits)
        right_digits = outputs.digits.argmax(-1) == digits.mT
        return right_target.sum(1), right_digits.sum((1, 2))


def _target(digits: Tensor) -> Tensor:
    return (digits[..., 0] <= digits[..., 1]).long()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    flat = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


def _split_masks(masks: Tensor | None, replicates: int, batch: int) -> tuple[Tensor | float, ...]:
    """Cut the masks of a batch into the shapes in which the five dropout layers multiply."""
    if masks is None:
        return (1.0,) * 5
    units = [2 * CHANNELS, 2 * DIGIT_UNITS, *COMPARE_UNITS, OUTPUT_UNITS]
    channel, digit, *rest = masks.split([batch * n for n in units], dim=1)
    return (
        channel.unflatten(1, (batch, -1)).transpose(0, 1).reshape(batch, -1, 1, 1),
        digit.reshape(2 * replicates, batch, DIGIT_UNITS),
        *(mask.unflatten(1, (batch, -1)) for mask in rest),
    )
