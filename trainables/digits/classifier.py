"""The report's digit classifier: one network reads each digit, and a rule compares them.

    per image    conv 1->16, 3x3 | max-pool 2 | conv 16->32, 3x3 | max-pool 2: 128 features | 128->64 | 10 digit logits

The comparator reads its digits alike, by what is here. Leaky ReLU (0.01) after each pooling and the 64-unit layer.
Dropout: of channels after the second convolution, of units after the 64-unit layer.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from trainables.digits.convolution import CHANNELS, read_features
from trainables.digits.normalisation import Moments, Normalisation, norm_of
from trainables.digits.pairs import PairsNetwork
from trainables.digits.settings import CellConfig
from trainables.engine.layers import Layer, linear, per_image, unpack
from trainables.engine.model import Right

DIGIT_UNITS = 64


class Classifier(PairsNetwork):
    """K replicates of the classifier of a cell; its outputs are raw digit logits ``[K, 2, B, 10]``."""

    def __init__(self, config: CellConfig) -> None:
        self.settings = config
        self.layers = digit_layers(config)
        self.mask_units = digit_mask_units(self.layers)

    def forward(
        self, parameters: Tensor, images: Tensor, masks: Tensor | None, moments: Moments | None = None
    ) -> Tensor:
        """Compute the digit logits of images ``[K, B, 2, 14, 14]``.

        ``masks`` is ``[K, B * mask_units]``, or None to leave dropout out; ``moments`` are Normalisation's.
        """
        layers = unpack(parameters, self.layers)
        return read_digits(layers, images, masks, Normalisation(layers, moments))[1]

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


def digit_layers(config: CellConfig) -> tuple[Layer, ...]:
    """Return the layers that read a digit: one tower for both images, or one for each."""
    towers = 1 if config.sharing else 2
    first, second, units = (hidden_units(count, config) for count in (*CHANNELS, DIGIT_UNITS))
    layers = (
        Layer("conv1", (first, 1, 3, 3), towers),
        Layer("conv2", (second, first, 3, 3), towers, reads=("conv1",)),
        Layer("digit1", (units, 4 * second), towers, reads=("conv2",)),
        Layer("digit2", (10, units), towers, reads=("digit1",)),
    )
    return with_norms(layers, config)


def hidden_units(count: int, config: CellConfig) -> int:
    """Return how many channels or units a hidden layer has where the report's has ``count``."""
    return round(count * config.width)


def with_norms(layers: Sequence[Layer], config: CellConfig) -> tuple[Layer, ...]:
    """Return the layers, where the cell has batch normalisation each but the last, which gives logits, with its own."""
    if not config.batch_norm:
        return tuple(layers)
    return (*(part for layer in layers[:-1] for part in (layer, norm_of(layer))), layers[-1])


def digit_mask_units(layers: Sequence[Layer]) -> int:
    """Return the dropout units of the digits of one pair: of the second convolution and of the layer behind it."""
    return 2 * sum(layer.weight[0] for layer in layers if layer.name in ("conv2", "digit1"))


def dense(layers: Mapping[str, tuple[Tensor, Tensor]], name: str, inputs: Tensor, norm: Normalisation) -> Tensor:
    """Return leaky ReLU of a linear layer, normalised where it is: ``[G, B, in]`` to ``[G, B, out]``; G is K or 2K."""
    weight, bias = (per_image(parameter, len(inputs) // len(parameter)) for parameter in layers[name])
    return F.leaky_relu(norm.units(name, linear(inputs, weight, bias)))


def read_digits(
    layers: Mapping[str, tuple[Tensor, Tensor]], images: Tensor, masks: Tensor | None, norm: Normalisation
) -> tuple[Tensor, Tensor]:
    """Return the features ``[K, 2, B, 128]`` and digit logits ``[K, 2, B, 10]`` of images ``[K, B, 2, 14, 14]``.

    ``layers`` are unpacked; ``masks`` is ``[K, B * digit_mask_units]`` or None.
    """
    channels, units = (layers[name][1].shape[2] for name in ("conv2", "digit1"))
    channel, digit = _split_masks(masks, images.shape[1], channels, units)
    features = read_features(images, layers["conv1"], layers["conv2"], channel, norm)
    hidden = dense(layers, "digit1", features.flatten(0, 1), norm) * digit
    digits = linear(hidden, *(per_image(parameter) for parameter in layers["digit2"]))
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


def _split_masks(masks: Tensor | None, batch: int, channels: int, units: int) -> tuple[Tensor | None, Tensor | float]:
    """Cut the masks of a batch into those of the channels and of the hidden units, in the shapes of what they scale."""
    if masks is None:
        return None, 1.0
    channel, digit = masks.split([batch * 2 * channels, batch * 2 * units], dim=1)
    return channel.unflatten(1, (batch, 2, channels)), digit.reshape(-1, batch, units)
