"""Batch normalisation and width against an ordinary module with nn.BatchNorm1d and nn.BatchNorm2d."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.trainables.digits.test_comparator import cut_masks, plain_loss
from tests.trainables.engine.test_training import RATE, double_training, plain_batches, run
from trainables.digits.normalisation import Normalisation
from trainables.digits.pairs import draw_split
from trainables.engine.layers import dropout_masks, parameter_count, unpack
from trainables.engine.streams import fold, stream_keys

SEEDS = (4, 11)


class NormedTower(nn.Module):
    """What sees the images of one side, or of both: one batch, one set of moments."""

    def __init__(self, norm, width):
        super().__init__()
        first, second, units = (int(count * width) for count in (16, 32, 64))
        self.conv1, self.conv1_norm = nn.Conv2d(1, first, 3), norm(nn.BatchNorm2d, first)
        self.conv2, self.conv2_norm = nn.Conv2d(first, second, 3), norm(nn.BatchNorm2d, second)
        self.digit1, self.digit1_norm = nn.Linear(4 * second, units), norm(nn.BatchNorm1d, units)
        self.digit2 = nn.Linear(units, 10)

    def forward(self, images, channel_mask, digit_mask):
        hidden = F.leaky_relu(F.max_pool2d(self.conv1_norm(self.conv1(images)), 2), 0.01)
        hidden = self.conv2_norm(self.conv2(hidden)) * channel_mask[:, :, None, None]
        features = F.leaky_relu(F.max_pool2d(hidden, 2), 0.01).flatten(1)
        hidden = F.leaky_relu(self.digit1_norm(self.digit1(features)), 0.01) * digit_mask
        return features, self.digit2(hidden)


class NormedComparator(nn.Module):
    """The comparator with a normalisation after each hidden layer, before pooling and leaky ReLU."""

    def __init__(self, cell):
        super().__init__()

        def norm(kind, count):
            return kind(count, momentum=1.0) if cell.batch_norm else nn.Identity()

        first, second, last, features = (int(count * cell.width) for count in (64, 32, 32, 256))
        self.towers = nn.ModuleList(NormedTower(norm, cell.width) for _ in range(1 if cell.sharing else 2))
        self.compare1, self.compare1_norm = nn.Linear(features, first), norm(nn.BatchNorm1d, first)
        self.compare2, self.compare2_norm = nn.Linear(first, second), norm(nn.BatchNorm1d, second)
        self.output1, self.output1_norm = nn.Linear(second + 20, last), norm(nn.BatchNorm1d, last)
        self.output2 = nn.Linear(last, 2)

    def forward(self, images, masks=None):
        """Map images [B, 2, 14, 14] to the logits of the target [B, 2] and of both digits [B, 10]."""
        sides = images.transpose(0, 1).unsqueeze(2)  # [2, B, 1, 14, 14]
        undropped = images.new_ones(len(images), 2, 1)
        channel, digit, *others = masks or (undropped, undropped.mT.reshape(2, -1, 1), 1, 1, 1)
        read = (sides, channel.transpose(0, 1), digit)
        if len(self.towers) == 1:
            both = self.towers[0](*(part.flatten(0, 1) for part in read))
            (left, right), digits = (values.chunk(2) for values in both)
        else:
            (left, left_digit), (right, right_digit) = (
                tower(*own) for tower, own in zip(self.towers, zip(*read, strict=True), strict=True)
            )
            digits = (left_digit, right_digit)
        hidden = F.leaky_relu(self.compare1_norm(self.compare1(torch.cat([left, right], dim=1)))) * others[0]
        hidden = F.leaky_relu(self.compare2_norm(self.compare2(hidden))) * others[1]
        hidden = F.leaky_relu(self.output1_norm(self.output1(torch.cat([hidden, *digits], dim=1)))) * others[2]
        return self.output2(hidden), *digits

    def parts(self, layer):
        """Return the modules of a stacked layer: one for each of its towers."""
        owners = [self] if layer.joint else self.towers
        return [getattr(owner, layer.name) for owner in owners]


def twin(training, row):
    """Make the plain network with the weights that a replicate has now."""
    plain = NormedComparator(training.settings).double()
    parameters = unpack(training.stack.parameters.detach(), training.model.layers)
    with torch.no_grad():
        for layer in training.model.layers:
            for tower, part in enumerate(plain.parts(layer)):
                for own, value in zip((part.weight, part.bias), parameters[layer.name], strict=True):
                    own.copy_(value[row, tower])
    return plain


def parameters_of(plain, layers):
    """Lay out the weights of a plain network as a replicate's row."""
    return torch.cat(
        [getattr(p, kind).detach().flatten() for x in layers for kind in ("weight", "bias") for p in plain.parts(x)]
    )


def masks_of(cell, seed, step, pairs):
    if not cell.dropout:
        return None
    return cut_masks(dropout_masks(fold(stream_keys([seed], "dropout"), step), pairs * 320, cell.dropout)[0], pairs)


@torch.no_grad()
def evaluation(plain, train, pairs, aux_weight):
    """Return loss and accuracy on pairs, by the moments of all training pairs: with momentum 1 those of one pass."""
    plain.train()
    plain(train.images)
    plain.eval()
    outputs = plain(pairs.images)
    plain.train()
    accuracy = (outputs[0].argmax(1) == pairs.target).double().mean().item()
    return plain_loss(outputs, pairs.digits, aux_weight).item(), accuracy


def plain_epochs(plain, cell, seed, pool):
    """Train one seed the ordinary way; yield the mean loss and both evaluations after each epoch."""
    split = draw_split(pool, seed, cell.train_pairs, cell.test_pairs, cell.validation_share)
    adam, step = torch.optim.Adam(plain.parameters(), lr=cell.learning_rate), 0
    for epoch in range(cell.max_epochs):
        total = 0.0
        for images, digits in plain_batches(split.train, seed, epoch, cell.batch_size):
            loss = plain_loss(plain(images, masks_of(cell, seed, step, len(images))), digits, cell.aux_weight)
            adam.zero_grad()
            loss.backward()
            adam.step()
            total, step = total + loss.item() * len(images), step + 1
        on_validation, on_test = (
            evaluation(plain, split.train, pairs, cell.aux_weight) for pairs in (split.validation, split.test)
        )
        yield total / len(split.train.digits), *on_validation, on_test[1]


# A bias before a normalisation has a gradient that is nothing but rounding, which Adam magnifies by up to 1e8.
@pytest.mark.parametrize("sharing", [False, True])
@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({"batch_norm": True, "dropout": 0.5}, id="normed-dropout"),
        pytest.param({"batch_norm": True, "width": 0.5}, id="normed-half"),
        pytest.param({"width": 2}, id="double"),
    ],
)
def test_in_float64_a_stack_is_plain_trainings(switches, sharing, small_cell, double_pool):
    cell = small_cell(sharing=sharing, aux_weight=1, learning_rate=RATE, max_epochs=3, **switches)
    training = double_training({cell: SEEDS}, double_pool)
    twins = [twin(training, row) for row in range(len(SEEDS))]
    epochs = run(training, 2)
    for row, (seed, plain) in enumerate(zip(SEEDS, twins, strict=True)):
        assert parameter_count(training.model.layers) == sum(p.numel() for p in plain.parameters())
        for records, expected in zip(
            epochs, itertools.islice(plain_epochs(plain, cell, seed, double_pool), 2), strict=True
        ):
            found = records[row]
            measured = (
                found.figure("train_loss"),
                found.figure("val_loss"),
                found.figure("val_accuracy"),
                found.figure("test_accuracy"),
            )
            assert measured == pytest.approx(expected, abs=1e-8)
        own = parameters_of(plain, training.model.layers)
        torch.testing.assert_close(training.stack.parameters[row].detach(), own, rtol=0, atol=1e-7)


def test_moments_are_measured_once_and_then_used():
    layers = {"conv1_norm": (torch.full((2, 1, 3), 2.0), torch.full((2, 1, 3), 5.0))}
    measured, others = torch.randn(40, 6), torch.randn(10, 6)
    norm = Normalisation(layers, {})
    torch.testing.assert_close(norm.channels("conv1", measured).mean(0), torch.full((6,), 5.0))
    expected = (others - measured.mean(0)) / (measured.var(0) + 1e-5).sqrt() * 2 + 5
    torch.testing.assert_close(norm.channels("conv1", others), expected)
    assert norm.channels("conv2", others) is others  # a layer that has no normalisation


@pytest.mark.parametrize("towers", [1, 2])
def test_units_of_a_linear_layer_are_normalised_by_replicate_and_tower(towers):
    inputs = torch.randn(3, 2, 7, 4)  # replicates, images, pairs, units
    ones = torch.ones(3, towers, 4)
    found = Normalisation({"digit1_norm": (ones, 0 * ones)}, None).units("digit1", inputs.flatten(0, 1))
    axes = (1, 2) if towers == 1 else 2
    mean, variance = inputs.mean(axes, keepdim=True), inputs.var(axes, correction=0, keepdim=True)
    torch.testing.assert_close(found.unflatten(0, (3, 2)), (inputs - mean) / (variance + 1e-5).sqrt())
