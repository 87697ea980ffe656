import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.engine.layers import (
    Layer,
    conv,
    dropout_masks,
    initial_parameters,
    linear,
    parameter_count,
    per_image,
    unpack,
)
from trainables.engine.streams import fold, stream_keys

CPU = torch.device("cpu")


LAYERS = (Layer("conv", (4, 2, 3, 3), 2), Layer("hidden", (5, 36), 1), Layer("last", (2, 5), 2))


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Parameters


def test_unpacked_layers_are_views_of_the_whole_row():
    count = parameter_count(LAYERS)
    parameters = torch.arange(3.0 * count).view(3, count)
    layers = unpack(parameters, LAYERS)
    assert count == 2 * (72 + 4) + (180 + 5) + 2 * (10 + 2)
    assert {name: (tuple(w.shape), tuple(b.shape)) for name, (w, b) in layers.items()} == {
        "conv": ((3, 2, 4, 2, 3, 3), (3, 2, 4)),
        "hidden": ((3, 1, 5, 36), (3, 1, 5)),
        "last": ((3, 2, 2, 5), (3, 2, 2)),
    }
    flat = [part.flatten(1) for pair in layers.values() for part in pair]
    assert torch.equal(torch.cat(flat, dim=1), parameters)  # nothing is left out, nothing twice
    parameters.zero_()
    assert not any(part.any() for pair in layers.values() for part in pair)


def test_initial_parameters_are_uniform_within_pytorchs_default_bounds():
    wide = (Layer("conv", (64, 32, 3, 3)), Layer("linear", (200, 300)))
    layers = unpack(initial_parameters(wide, range(3), CPU).double(), wide)
    for (weight, bias), fan_in in zip(layers.values(), (32 * 9, 300), strict=True):
        bound = 1 / math.sqrt(fan_in)
        for values in (weight.flatten(), bias.flatten()):
            n = len(values)
            assert values.abs().max() <= bound
            # Mean and variance within five standard errors of the uniform distribution's: 1/3 is the variance, 4/45
            # that of the square, for a bound of 1. No chance is involved: the seeds are fixed.
            assert abs(values.mean() / bound) < 5 * (1 / 3 / n) ** 0.5
            assert abs((values / bound).square().mean() - 1 / 3) < 5 * (4 / 45 / n) ** 0.5
        shares = torch.histc(weight / bound, 10, -1, 1) / weight.numel()
        assert (shares - 0.1).abs().max() < 5 * (0.09 / weight.numel()) ** 0.5


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (lambda: nn.Conv2d(16, 32, 3), Layer("x", (32, 16, 3, 3))),
        (lambda: nn.Linear(128, 64), Layer("x", (64, 128))),
    ],
)
def test_initial_parameters_are_distributed_as_pytorchs_own(module, layer):
    torch.manual_seed(0)
    modules = [module() for _ in range(20)]
    ours = unpack(initial_parameters([layer], range(20), CPU), [layer])["x"]
    for values, name in zip(ours, ("weight", "bias"), strict=True):
        theirs = torch.stack([getattr(one, name).detach() for one in modules])
        assert values.squeeze(1).shape == theirs.shape
        assert values.std() == pytest.approx(theirs.std().item(), rel=0.05)
        assert values.abs().max() == pytest.approx(theirs.abs().max().item(), rel=0.01)


def test_every_tower_seed_and_layer_starts_differently():
    layers = unpack(initial_parameters(LAYERS, [0, 1], CPU), LAYERS)
    starts = [part[row, tower, ..., :2].flatten()[:2] for part in layers["conv"] for row in (0, 1) for tower in (0, 1)]
    assert len(torch.stack(starts).unique(dim=0)) == len(starts)
    twins = (Layer("a", (4, 3)), Layer("b", (4, 3)))
    a, b = unpack(initial_parameters(twins, [0], CPU), twins).values()
    assert not torch.equal(a[0], b[0])


@pytest.mark.parametrize("stack", [(7,), (3, 7), (7, 1, 2), (2, 1, 7)])
def test_a_seed_starts_with_the_same_bits_in_any_stack(stack):
    alone = initial_parameters(LAYERS, [7], CPU)[0]
    assert torch.equal(initial_parameters(LAYERS, stack, CPU)[stack.index(7)], alone)


def test_a_shared_layer_starts_as_the_left_tower_of_its_unshared_twin():
    shared, unshared = [Layer("conv", (4, 2, 3, 3), 1)], [Layer("conv", (4, 2, 3, 3), 2)]
    one = unpack(initial_parameters(shared, [0, 5], CPU), shared)["conv"]
    two = unpack(initial_parameters(unshared, [0, 5], CPU), unshared)["conv"]
    for left, both in zip(one, two, strict=True):
        assert torch.equal(left[:, 0], both[:, 0])


# Layers


@pytest.mark.parametrize("towers", [1, 2])
def test_a_stacked_convolution_is_an_ordinary_one_for_each_image(towers):
    images, weight, bias = random(4, 3 * 2 * 5, 8, 8), random(3, towers, 6, 5, 3, 3), random(3, towers, 6)
    outputs = conv(images, weight, bias)
    for row in range(3):
        for side in range(2):
            image, tower = 2 * row + side, side % towers
            expected = F.conv2d(images[:, 5 * image : 5 * image + 5], weight[row, tower], bias[row, tower])
            torch.testing.assert_close(outputs[:, 6 * image : 6 * image + 6], expected)


def test_a_stacked_linear_layer_is_an_ordinary_one_for_each_row():
    inputs, weight, bias = random(3, 7, 5), random(3, 4, 5), random(3, 4)
    expected = [F.linear(inputs[row], weight[row], bias[row]) for row in range(3)]
    torch.testing.assert_close(linear(inputs, weight, bias), torch.stack(expected))


def test_each_image_gets_its_tower():
    one, two = torch.tensor([[[1], [2]], [[3], [4]]]), torch.tensor([[[5]], [[6]]])
    assert per_image(one).tolist() == [[1], [2], [3], [4]]
    assert per_image(two).tolist() == [[5], [5], [6], [6]]


# Dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_masks_drop_with_their_probability_and_keep_the_mean(probability):
    masks = dropout_masks(stream_keys(range(4), "dropout"), 100_000, probability)
    assert masks.dtype == torch.float32
    assert masks.unique().tolist() == [0, pytest.approx(1 / (1 - probability))]
    shares = (masks == 0).double().mean(dim=1)
    # Five standard errors, with fixed seeds.
    assert (shares - probability).abs().max() < 5 * (probability * (1 - probability) / 100_000) ** 0.5


@pytest.mark.parametrize("neighbours", ["steps", "seeds"])
def test_masks_of_different_steps_and_seeds_are_independent(neighbours):
    keys = stream_keys(range(20), "dropout")
    if neighbours == "steps":
        keys = torch.cat([fold(keys[:1], step) for step in range(20)])
    dropped = (dropout_masks(keys, 20_000, 0.5) == 0).double()
    assert (torch.corrcoef(dropped) - torch.eye(20)).abs().max() < 5 / 20_000**0.5


def test_next_to_everything_can_be_dropped():
    masks = dropout_masks(stream_keys([0], "dropout"), 1000, 1 - 1e-12)
    assert not masks.any()


@pytest.mark.parametrize("stack", [(7,), (3, 7), (7, 1, 2)])
def test_a_seed_has_the_same_masks_in_any_stack(stack):
    alone = dropout_masks(fold(stream_keys([7], "dropout"), 5), 1000, 0.5)[0]
    masks = dropout_masks(fold(stream_keys(stack, "dropout"), 5), 1000, 0.5)
    assert torch.equal(masks[stack.index(7)], alone)
