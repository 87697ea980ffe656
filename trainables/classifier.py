"""The report's digit classifier: one network reads each digit, and a rule compares them.

    per image    conv 1->16, 3x3 | max-pool 2 | conv 16->32, 3x3 | max-pool 2: 128 features | 128->64 | 10 digit logits

The comparator reads its digits alike, by what is here. Leaky ReLU (0.01) after each pooling and the 64-unit layer.
Dropout: of channels after the second convolution, of units after the 64-unit layer.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from trainables.config import CellConfig
from trainables.convolution import CHANNELS, FEATURES, read_features
from trainables.stacked import Layer, Right, linear, per_image, unpack

DIGIT_UNITS = 64
DIGIT_MASK_UNITS = 2 * (CHANNELS[1] + DIGIT_UNITS)  # of the digits of one pair


class Classifier:
    """K replicates of the classifier of a cell; its outputs are raw digit logits ``[K, 2, B, 10]``."""

    mask_units = DIGIT_MASK_UNITS

    def __init__(self, config: CellConfig) -> None:
        self.layers = digit_layers(config.sharing)

    def forward(self, parameters: Tensor, images: Tensor, masks: Tensor | None) -> Tensor:
        """Compute the digit logits of images ``[K, B, 2, 14, 14]``.

        ``masks`` is ``[K, B * mask_units]``, or None to leave dropout out.
        """
        return read_digits(unpack(parameters, self.layers), images, masks)[1]

    def losses(self, outputs: Tensor, digits: Tensor, aux_weights: Tensor) -> Tensor:
        """Return (CE(left digit) + CE(right digit)) / 2, ``[K]``; digits ``[K, B, 2]``. It has no auxiliary loss."""
        return digit_losses(outputs, digits)

    def correct(self, outputs: Tensor, digits: Tensor) -> Right:
        """Count right answers; digits ``[K, B, 2]``.

        The rule says that the first digit is not the larger if the likeliest first one is at most the likeliest second
        one. By probability, P(first <= second), the sum of p1(i) p2(j) over i <= j, is to be at least one half.
        """
        target = first_not_larger(digits)
        by_rule = first_not_larger(outputs.argmax(-1).mT)
        first, second = outputs.softmax(-1).unbind(1)
        joint = first.unsqueeze(-1) * second.unsqueeze(-2)  # [K, B, 10, 10]
        by_probability = joint.triu().sum((-2, -1)) >= 0.5
        return Right((by_rule == target).sum(1), right_digits(outputs, digits), (by_probability == target).sum(1))


def digit_layers(sharing: bool) -> tuple[Layer, ...]:
    """Return the layers that read a digit: one tower for both images, or one for each."""
    towers = 1 if sharing else 2
    return (
        Layer("conv1", (CHANNELS[0], 1, 3, 3), towers),
        Layer("conv2", (CHANNELS[1], CHANNELS[0], 3, 3), towers, reads=("conv1",)),
        Layer("digit1", (DIGIT_UNITS, FEATURES), towers, reads=("conv2",)),
        Layer("digit2", (10, DIGIT_UNITS), towers, reads=("digit1",)),
    )


def read_digits(
    layers: Mapping[str, tuple[Tensor, Tensor]], images: Tensor, masks: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the features ``[K, 2, B, 128]`` and digit logits ``[K, 2, B, 10]`` of images ``[K, B, 2, 14, 14]``.

    ``layers`` are unpacked; ``masks`` is ``[K, B * DIGIT_MASK_UNITS]`` or None.
    """
    pairs = images.shape[1]
    channel, digit = _split_masks(masks, pairs)
    features = read_features(images, layers["conv1"], layers["conv2"], channel)
    digit1, digit2 = ([per_image(p) for p in layers[name]] for name in ("digit1", "digit2"))
    digits = linear(F.leaky_relu(linear(features.flatten(0, 1), *digit1)) * digit, *digit2)
    return features, digits.unflatten(0, (-1, 2))


def digit_losses(logits: Tensor, digits: Tensor) -> Tensor:
    """Return the mean cross-entropy ``[K]`` of digit logits ``[K, 2, B, 10]`` over both digits ``[K, B, 2]``."""
    return cross_entropy(logits, digits.mT).mean((1, 2))


def right_digits(logits: Tensor, digits: Tensor) -> Tensor:
    """Count the digits ``[K, B, 2]`` that have the largest of their logits ``[K, 2, B, 10]``: ``[K]``, 0 to 2B."""
    return (logits.argmax(-1) == digits.mT).sum((1, 2))


def first_not_larger(digits: Tensor) -> Tensor:
    """Return the target ``[K, B]`` (int64) of digits ``[K, B, 2]``: 1 where the first is not the larger."""
    return (digits[..., 0] <= digits[..., 1]).long()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each label; logits have the classes as one more dimension, the last."""
    flat = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


def _split_masks(masks: Tensor | None, batch: int) -> tuple[Tensor | None, Tensor | float]:
    """Cut the masks of a batch into those of the channels and of the 64 units, in the shapes of what they scale."""
    if masks is None:
        return None, 1.0
    channel, digit = masks.split([batch * 2 * CHANNELS[1], batch * 2 * DIGIT_UNITS], dim=1)
    return channel.unflatten(1, (batch, 2, CHANNELS[1])), digit.reshape(-1, batch, DIGIT_UNITS)
