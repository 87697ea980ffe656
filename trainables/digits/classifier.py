"""The report's digit classifier: one network reads each digit, and a rule compares them.

    per image    conv 1->16, 3x3 | max-pool 2 | conv 16->32, 3x3 | max-pool 2: 128 features
    | 128->64 | 10 digit logits

Leaky ReLU (0.01) follows each pooling and the 64-unit layer. Dropout drops channels after
the second convolution, and units after the 64-unit layer. The comparator reads digits alike.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.digits.convolution import CHANNELS, read_features
from trainables.digits.normalisation import Moments, Normalisation, norm_of
from trainables.digits.pairs import PairsNetwork
from trainables.digits.settings import CellConfig
from trainables.engine.layers import Layer, linear, per_image, unpack

DIGIT_UNITS = 64


class Classifier(PairsNetwork):
    """K replicates of a cell's classifier; outputs are digit logits ``[K, 2, B, 10]``."""

    def __init__(self, config: CellConfig) -> None:
        self.settings = config
        self.layers = digit_layers(config)
        self.mask_units = digit_mask_units(self.layers)

    def forward(
        self, parameters: Tensor, images: Tensor, masks: Tensor | None, moments: Moments | None = None
    ) -> Tensor:
        """Compute the digit logits of images ``[K, B, 2, 14, 14]``.

        ``masks`` are ``[K, B * mask_units]`` or None; ``moments`` are Normalisation's.
        """
        layers = unpack(parameters, self.layers)
        return read_digits(layers, images, masks, Normalisation(layers, moments))[1]

    def outputs(self, target: Tensor, digits: Tensor) -> Tensor:
        """Return the digit logits, for the kernels; there are none of a target."""
        return digits

    def digits_weight(self, varied: Mapping[str, Tensor]) -> Tensor:
        """Return the weight of the digits' loss, ``[K]``: 1, as there is no other."""
        return torch.ones_like(varied["aux_weight"])

    def losses(self, outputs: Tensor, digits: Tensor, varied: Mapping[str, Tensor]) -> Tensor:
        """Return (CE(left digit) + CE(right digit)) / 2, ``[K]``; digits ``[K, B, 2]``."""
        return digit_losses(outputs, digits)

    def sums(self, outputs: Tensor, digits: Tensor) -> dict[str, Tensor]:
        """Count right answers by the rule, for the likeliest digits (half of one each), and by probability."""
        target = first_not_larger(digits)
        by_rule = first_not_larger(outputs.argmax(-1).mT)

        # P(first <= second) is the sum of p1(i) p2(j) over i <= j, the upper triangle.
        first, second = outputs.softmax(-1).unbind(1)
        joint = first.unsqueeze(-1) * second.unsqueeze(-2)  # [K, B, 10, 10]
        by_probability = joint.triu().sum((-2, -1)) >= 0.5
        return {
            "accuracy": (by_rule == target).sum(1),
            "digit_accuracy": right_digits(outputs, digits) / 2,
            "accuracy_by_probability": (by_probability == target).sum(1),
        }


def digit_layers(config: CellConfig) -> tuple[Layer, ...]:
    """Return the layers that read a digit: one tower for both images, or one for each."""
    towers = 1 if config.sharing else 2
    first, second, units = hidden_units(config, *CHANNELS, DIGIT_UNITS)
    layers = (
        Layer("conv1", (first, 1, 3, 3), towers),
        Layer("conv2", (second, first, 3, 3), towers, reads=("conv1",)),
        Layer("digit1", (units, 4 * second), towers, reads=("conv2",)),
        Layer("digit2", (10, units), towers, reads=("digit1",)),
    )
    return with_norms(layers, config)


def hidden_units(config: CellConfig, *counts: int) -> list[int]:
    """Return the channels or units of hidden layers that have ``counts`` in the report."""
    return [round(count * config.width) for count in counts]


def with_norms(layers: Sequence[Layer], config: CellConfig) -> tuple[Layer, ...]:
    """Return the layers of a cell with their normalisations, if it has batch normalisation."""
    if not config.batch_norm:
        return tuple(layers)
    *hidden, logits = layers
    normed: list[Layer] = []
    for layer in hidden:
        normed += [layer, norm_of(layer)]
    return (*normed, logits)


def digit_mask_units(layers: Sequence[Layer]) -> int:
    """Return the dropout units of reading a pair: of conv2 and digit1, for both images."""
    outputs = {layer.name: layer.weight[0] for layer in layers}
    return 2 * (outputs["conv2"] + outputs["digit1"])


def dense(layers: Mapping[str, tuple[Tensor, Tensor]], name: str, inputs: Tensor, norm: Normalisation) -> Tensor:
    """Map ``[G, B, in]`` to ``[G, B, out]`` by a layer, its normalisation and leaky ReLU."""
    weight, bias = layers[name]
    images = len(inputs) // len(weight)  # 1 for layers of the pair, 2 for layers of an image
    outputs = linear(inputs, per_image(weight, images), per_image(bias, images))
    return F.leaky_relu(norm.units(name, outputs))


def read_digits(
    layers: Mapping[str, tuple[Tensor, Tensor]], images: Tensor, masks: Tensor | None, norm: Normalisation
) -> tuple[Tensor, Tensor]:
    """Return features ``[K, 2, B, 128]`` and digit logits ``[K, 2, B, 10]`` of images."""
    channels = layers["conv2"][1].shape[2]
    units = layers["digit1"][1].shape[2]
    channel_mask, unit_mask = _split_masks(masks, images.shape[1], channels, units)
    features = read_features(images, layers["conv1"], layers["conv2"], channel_mask, norm)

    # From here on the two images of a pair are read like two replicates.
    hidden = dense(layers, "digit1", features.flatten(0, 1), norm) * unit_mask
    weight, bias = layers["digit2"]
    digits = linear(hidden, per_image(weight), per_image(bias))
    return features, digits.unflatten(0, (-1, 2))


def digit_losses(logits: Tensor, digits: Tensor) -> Tensor:
    """Return the mean cross-entropy ``[K]`` of logits ``[K, 2, B, 10]``; digits ``[K, B, 2]``."""
    return cross_entropy(logits, digits.mT).mean((1, 2))


def right_digits(logits: Tensor, digits: Tensor) -> Tensor:
    """Count digits ``[K, B, 2]`` whose logit ``[K, 2, B, 10]`` is the largest: ``[K]``."""
    return (logits.argmax(-1) == digits.mT).sum((1, 2))


def first_not_larger(digits: Tensor) -> Tensor:
    """Return targets ``[K, B]`` of digits ``[K, B, 2]``: 1 if the first is not the larger."""
    return (digits[..., 0] <= digits[..., 1]).long()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each label; the last axis of logits has the classes."""
    flat = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


def _split_masks(masks: Tensor | None, batch: int, channels: int, units: int) -> tuple[Tensor | None, Tensor | float]:
    if masks is None:
        return None, 1.0
    of_channels, of_units = masks.split([batch * 2 * channels, batch * 2 * units], dim=1)
    return of_channels.unflatten(1, (batch, 2, channels)), of_units.reshape(-1, batch, units)
