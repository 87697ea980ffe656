"""The stacked comparator against an ordinary module, written as one would write it for a single training."""

import itertools
import math
from operator import attrgetter
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.digits.comparator import Comparator, Outputs
from trainables.engine.examples import StackedExamples
from trainables.engine.layers import dropout_masks, initial_parameters, parameter_count, unpack
from trainables.engine.streams import fold, stream_keys

CPU = torch.device("cpu")
SEEDS = (4, 0, 11)
SWITCHES = [
    pytest.param({"sharing": sharing, "aux_weight": weight, "dropout": dropout}, id=f"{sharing}-{weight}-{dropout}")
    for sharing, weight, dropout in itertools.product((False, True), (0, 10), (0, 0.5))
]


class Masks(NamedTuple):
    """The dropout masks of one seed's batch of B pairs: channel [B, 2, 32], digit [2, B, 64], others [B, units]."""

    channel: torch.Tensor
    digit: torch.Tensor
    compare1: torch.Tensor
    compare2: torch.Tensor
    output1: torch.Tensor


def cut_masks(flat, batch):
    """Cut one seed's row [B * 320] of a stack's masks."""
    pieces = flat.split([batch * units for units in (2 * 32, 2 * 64, 64, 32, 32)])
    shapes = [(batch, 2, 32), (2, batch, 64), (batch, 64), (batch, 32), (batch, 32)]
    return Masks(*(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)))


class Tower(nn.Module):
    """What sees one image alone."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.digit1 = nn.Linear(128, 64)
        self.digit2 = nn.Linear(64, 10)

    def forward(self, image, channel_mask=None, digit_mask=None):
        hidden = F.leaky_relu(F.max_pool2d(self.conv1(image), 2), 0.01)
        hidden = self.conv2(hidden)
        if channel_mask is not None:
            hidden = hidden * channel_mask[:, :, None, None]  # dropout2d, before the pooling as in the report
        features = F.leaky_relu(F.max_pool2d(hidden, 2), 0.01).flatten(1)
        hidden = F.leaky_relu(self.digit1(features), 0.01)
        if digit_mask is not None:
            hidden = hidden * digit_mask
        return features, self.digit2(hidden)


class PlainComparator(nn.Module):
    """The report's network for one training."""

    def __init__(self, sharing):
        super().__init__()
        self.left = Tower()
        self.right = self.left if sharing else Tower()
        self.compare1 = nn.Linear(256, 64)
        self.compare2 = nn.Linear(64, 32)
        self.output1 = nn.Linear(32 + 10 + 10, 32)
        self.output2 = nn.Linear(32, 2)

    def forward(self, images, masks=None):
        """Map images [B, 2, 14, 14] to the logits of the target [B, 2] and of both digits [B, 10]."""
        if masks is None:
            left, left_digit = self.left(images[:, 0:1])
            right, right_digit = self.right(images[:, 1:2])
        else:
            left, left_digit = self.left(images[:, 0:1], masks.channel[:, 0], masks.digit[0])
            right, right_digit = self.right(images[:, 1:2], masks.channel[:, 1], masks.digit[1])
        hidden = F.leaky_relu(self.compare1(torch.cat([left, right], dim=1)), 0.01)
        if masks is not None:
            hidden = hidden * masks.compare1
        hidden = F.leaky_relu(self.compare2(hidden), 0.01)
        if masks is not None:
            hidden = hidden * masks.compare2
        hidden = F.leaky_relu(self.output1(torch.cat([hidden, left_digit, right_digit], dim=1)), 0.01)
        if masks is not None:
            hidden = hidden * masks.output1
        return self.output2(hidden), left_digit, right_digit


class PlainClassifier(nn.Module):
    """The report's digit classifier for one training."""

    def __init__(self):
        super().__init__()
        self.left = self.right = Tower()

    def forward(self, images, masks=None):
        """Map images [B, 2, 14, 14] to the logits of both digits [B, 10]."""
        sides = [(), ()] if masks is None else zip(masks.channel.unbind(1), masks.digit, strict=True)
        return tuple(self.left(images[:, i : i + 1], *side)[1] for i, side in enumerate(sides))


def plain_loss(outputs, digits, aux_weight):
    """The report's loss, for the logits of PlainComparator or PlainClassifier and the true digits [B, 2]."""
    *target, left_digit, right_digit = outputs
    smaller_or_equal = (digits[:, 0] <= digits[:, 1]).long()
    on_digits = 0.5 * (F.cross_entropy(left_digit, digits[:, 0]) + F.cross_entropy(right_digit, digits[:, 1]))
    return F.cross_entropy(target[0], smaller_or_equal) + aux_weight * on_digits if target else on_digits


def modules_of(plain):
    """Name the layers of a plain network as the stacked one does: one module a tower."""
    joint = ("compare1", "compare2", "output1", "output2") if isinstance(plain, PlainComparator) else ()
    towers = [plain.left] if plain.right is plain.left else [plain.left, plain.right]
    return {
        **{name: [getattr(tower, name) for tower in towers] for name in ("conv1", "conv2", "digit1", "digit2")},
        **{name: [getattr(plain, name)] for name in joint},
    }


@torch.no_grad()
def plain_from_row(layers, parameters, row, cell):
    """Make the plain network whose weights are those of one replicate of a stack."""
    plain = PlainClassifier() if cell.model == "classifier" else PlainComparator(cell.sharing)
    plain.to(parameters.dtype)
    unpacked = unpack(parameters.detach(), layers)
    for name, modules in modules_of(plain).items():
        weight, bias = unpacked[name]
        for tower, module in enumerate(modules):
            module.weight.copy_(weight[row, tower])
            module.bias.copy_(bias[row, tower])
    return plain


def row_from_plain(plain, value=torch.Tensor.detach):
    """Lay out the weights of a plain network, or another value of each, as a row [P] of a stack."""
    return torch.cat(
        [
            value(getattr(module, kind)).flatten()
            for modules in modules_of(plain).values()
            for kind in ("weight", "bias")
            for module in modules
        ]
    )


def stack_of(cell):
    """Return the model of a cell, float64 parameters [K, P] and a batch of 9 pairs a seed: images, digits, masks."""
    model, generator = Comparator(cell), torch.Generator().manual_seed(1)
    parameters = initial_parameters(model.layers, SEEDS, CPU).double()
    images = torch.rand(len(SEEDS), 9, 2, 14, 14, dtype=torch.float64, generator=generator)
    digits = torch.randint(10, (len(SEEDS), 9, 2), generator=generator)
    digits[:, 0] = 5  # equal digits count as "not the larger"
    masks = None
    if cell.dropout:
        keys = fold(stream_keys(SEEDS, "dropout"), 3)
        masks = dropout_masks(keys, 9 * model.mask_units, cell.dropout).double()
    return model, parameters, images, digits, masks


@pytest.mark.parametrize("switches", SWITCHES)
def test_logits_losses_and_gradients_are_those_of_a_plain_module(switches, small_cell):
    # In float64, where rounding is far below any mistake: a wrong slope, tower, mask or factor shows at once.
    cell = small_cell(**switches)
    model, parameters, images, digits, masks = stack_of(cell)
    parameters.requires_grad_()
    batch_images, batch_digits = StackedExamples(images, digits).batch(torch.arange(9).expand(3, 9))
    outputs = model.forward(parameters, batch_images, masks)
    losses = model.losses(outputs, batch_digits, {"aux_weight": torch.full((len(SEEDS),), float(cell.aux_weight))})
    losses.sum().backward()
    for row in range(len(SEEDS)):
        plain = plain_from_row(model.layers, parameters, row, cell)
        expected = plain(images[row], None if masks is None else cut_masks(masks[row], 9))
        loss = plain_loss(expected, digits[row], cell.aux_weight)
        loss.backward()
        close = {"rtol": 1e-10, "atol": 1e-12}
        torch.testing.assert_close(outputs.target[row], expected[0], **close)
        torch.testing.assert_close(outputs.digits[row], torch.stack(expected[1:]), **close)
        torch.testing.assert_close(losses[row], loss, **close)
        torch.testing.assert_close(parameters.grad[row], row_from_plain(plain, attrgetter("grad")), **close)


def test_masks_of_one_change_nothing(small_cell):
    model, parameters, images, digits, _ = stack_of(small_cell(sharing=True))
    batch, _ = StackedExamples(images, digits).chunk(0, 9)
    ones = torch.ones(3, 9 * model.mask_units)
    for with_masks, without in zip(
        model.forward(parameters, batch, ones), model.forward(parameters, batch, None), strict=True
    ):
        assert torch.equal(with_masks, without)


@pytest.mark.parametrize("width", [1, 2])
def test_mask_units_are_those_of_the_five_dropout_layers(width, small_cell):
    assert Comparator(small_cell(width=width)).mask_units == width * (2 * 32 + 2 * 64 + 64 + 32 + 32)


@pytest.mark.parametrize(("sharing", "count"), [(False, 47_702), (True, 33_996)])
def test_the_comparator_has_the_reports_parameters(sharing, count, small_cell):
    model, plain = Comparator(small_cell(sharing=sharing)), PlainComparator(sharing)
    parameters = initial_parameters(model.layers, [0, 1], CPU)
    assert parameter_count(model.layers) == count
    assert parameters.shape == (2, count)
    assert sum(parameter.numel() for parameter in plain.parameters()) == count


@pytest.mark.parametrize("sharing", [False, True])
def test_every_layer_has_the_shape_of_its_plain_twin(sharing, small_cell):
    model, plain = Comparator(small_cell(sharing=sharing)), PlainComparator(sharing)
    layers = {layer.name: (layer.towers, layer.weight) for layer in model.layers}
    assert layers == {
        name: (len(modules), tuple(modules[0].weight.shape)) for name, modules in modules_of(plain).items()
    }


@pytest.mark.parametrize("sharing", [False, True])
def test_every_layer_starts_within_its_own_bound(sharing, small_cell):
    model = Comparator(small_cell(sharing=sharing))
    layers = unpack(initial_parameters(model.layers, range(20), CPU), model.layers)
    fan_ins = {"conv1": 9, "conv2": 144, "digit1": 128, "digit2": 64}
    fan_ins |= {"compare1": 256, "compare2": 64, "output1": 52, "output2": 32}
    for name, fan_in in fan_ins.items():
        bound = 1 / math.sqrt(fan_in)
        for values in layers[name]:
            assert 0.9 * bound < values.abs().max() <= bound
            # A uniform distribution's standard deviation; for its few values output2's bias gets the widest room.
            assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)


def test_the_shared_comparator_starts_as_the_unshared_ones_left_side(small_cell):
    shared, unshared = (Comparator(small_cell(sharing=sharing)).layers for sharing in (True, False))
    one = unpack(initial_parameters(shared, SEEDS, CPU), shared)
    two = unpack(initial_parameters(unshared, SEEDS, CPU), unshared)
    for name in one:
        for left, both in zip(one[name], two[name], strict=True):
            assert torch.equal(left[:, 0], both[:, 0])
            assert both.shape[1] == 1 or not torch.equal(both[:, 0], both[:, 1])


def outputs_by_hand():
    """One replicate, two pairs, (3, 5) and (8, 2): logits of a few known probabilities."""
    target = torch.zeros(1, 2, 2)
    target[0, 0] = torch.tensor([0.0, math.log(3)])  # 1, rightly, with probability 3/4
    target[0, 1] = torch.tensor([0.0, math.log(4)])  # 1, wrongly: 0 has probability 1/5
    digits = torch.zeros(1, 2, 2, 10)  # each digit with probability 1/10, but for two of the four images
    digits[0, 0, 0, 3] = math.log(9)  # 3 with probability 1/2, rightly
    digits[0, 1, 1, 4] = math.log(11)  # 4, wrongly: 2 has probability 1/20
    return Outputs(target, digits), torch.tensor([[[3, 5], [8, 2]]])


@pytest.mark.parametrize("aux_weight", [0, 1, 10])
def test_the_loss_by_hand(aux_weight, small_cell):
    outputs, digits = outputs_by_hand()
    on_target = (math.log(4 / 3) + math.log(5)) / 2
    left, right = (math.log(2) + math.log(10)) / 2, (math.log(10) + math.log(20)) / 2
    losses = Comparator(small_cell()).losses(outputs, digits, {"aux_weight": torch.tensor([float(aux_weight)])})
    assert losses.tolist() == [pytest.approx(on_target + aux_weight * 0.5 * (left + right))]


def test_right_answers_by_hand(small_cell):
    outputs, digits = outputs_by_hand()
    model = Comparator(small_cell())
    right = model.sums(outputs, digits)
    assert {name: count.tolist() for name, count in right.items()} == {"accuracy": [1], "digit_accuracy": [0.5]}
    # All four images look alike to argmax but for their largest logit: it says 3, 0, 0 and 4.
    right = model.sums(outputs, torch.tensor([[[3, 3], [0, 4]]]))
    assert {name: count.tolist() for name, count in right.items()} == {"accuracy": [2], "digit_accuracy": [1.5]}
