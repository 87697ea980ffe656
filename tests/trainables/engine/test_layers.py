import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.digits.pairs import draw_split
from trainables.engine.examples import StackedExamples
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
from trainables.engine.optimiser import Patience, Plateau, StackedAdam, keep, tensors_of
from trainables.engine.streams import fold, stream_keys

CPU = torch.device("cpu")
LAYERS = (Layer("conv", (4, 2, 3, 3), 2), Layer("hidden", (5, 36), 1), Layer("last", (2, 5), 2))
ordinary = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Pairs of K replicates


@pytest.fixture(scope="module")
def splits(pool):
    return [draw_split(pool, seed, 40, 10, 0.5).train for seed in (3, 4, 5)]


def test_a_batch_holds_each_replicates_own_pairs_side_by_side(splits):
    order = torch.tensor([[0, 5, 2], [19, 1, 1], [7, 8, 9]])
    images, digits = StackedExamples.of(splits, CPU).batch(order)
    assert images.shape == (3, 3, 2, 14, 14)
    for row, pairs in enumerate(splits):
        assert torch.equal(images[row], pairs.images[order[row]])
        assert torch.equal(digits[row], pairs.digits[order[row]])


def test_chunks_are_all_pairs_in_their_own_order(splits):
    stacked = StackedExamples.of(splits, CPU)
    chunks = [stacked.chunk(start, start + 8) for start in range(0, len(stacked), 8)]
    assert len(stacked) == 20
    assert [images.shape[1] for images, _ in chunks] == [8, 8, 4]
    images, digits = (torch.cat(parts, dim=1) for parts in zip(*chunks, strict=True))
    for row, pairs in enumerate(splits):
        assert torch.equal(images[row], pairs.images)
        assert torch.equal(digits[row], pairs.digits)


def test_keeping_pairs_drops_the_other_replicates(splits):
    kept = StackedExamples.of(splits, CPU).keep(torch.tensor([2, 0]))
    expected = StackedExamples.of([splits[2], splits[0]], CPU)
    assert torch.equal(kept.inputs, expected.inputs)
    assert torch.equal(kept.labels, expected.labels)


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


# Adam


def adam_steps(parameters, rates, gradients):
    """Take the steps stacked; rates and gradients are [steps, K] and [steps, K, P]."""
    parameters = parameters.clone().requires_grad_()
    adam = StackedAdam(parameters)
    for rate, gradient in zip(rates, gradients, strict=True):
        parameters.grad = gradient.clone()
        adam.step(parameters, rate)
        assert parameters.grad is None
    return parameters.detach()


def ordinary_adam_steps(parameters, rates, gradients):
    """Take the steps of one replicate with PyTorch's own Adam; rates and gradients are [steps] and [steps, P]."""
    parameters = nn.Parameter(parameters.clone())
    adam = torch.optim.Adam([parameters])
    for rate, gradient in zip(rates, gradients, strict=True):
        adam.param_groups[0]["lr"] = rate.item()
        parameters.grad = gradient.clone()
        adam.step()
    return parameters.detach()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_adam_with_a_rate_for_each_row_is_an_adam_for_each_row(dtype, tolerance):
    # Gradients down to 1e-9, below Adam's eps of 1e-8; rates that differ by row and fall on the way.
    scale = 10.0 ** -torch.arange(10, dtype=torch.float64)
    gradients = (random(12, 3, 10, seed=1) * scale).to(dtype)
    rates = torch.tensor([[1e-3, 1e-2, 4e-5]] * 7 + [[2e-4, 1e-2, 8e-6]] * 5, dtype=dtype)
    start = random(3, 10, seed=2).to(dtype)
    after = adam_steps(start, rates, gradients)
    for row in range(3):
        expected = ordinary_adam_steps(start[row], rates[:, row], gradients[:, row])
        torch.testing.assert_close(after[row], expected, rtol=0, atol=tolerance)
        assert (after[row] - start[row]).abs().max() > 1e-6  # even at float32's tolerance it has moved


def test_adam_goes_on_for_the_rows_that_are_kept():
    gradients, rates, start = random(6, 3, 10), torch.full((6, 3), 1e-2).double(), random(3, 10, seed=1)
    expected = adam_steps(start, rates, gradients)[[2, 0]]
    parameters = start.clone().requires_grad_()
    adam, rows = StackedAdam(parameters), torch.tensor([0, 1, 2])
    for step in range(6):
        if step == 3:
            rows = torch.tensor([2, 0])
            adam, parameters = adam.keep(rows), parameters.detach()[rows].requires_grad_()
        parameters.grad = gradients[step, rows]
        adam.step(parameters, rates[step, rows])
    assert torch.equal(parameters.detach(), expected)


def test_a_state_of_adam_is_a_snapshot():
    # Neither the training that it was taken from nor one that goes on from it may change it.
    parameters, gradients = random(2, 4).requires_grad_(), random(2, 2, 4, seed=1)
    adam = StackedAdam(parameters)
    parameters.grad = gradients[0].clone()
    adam.step(parameters, torch.ones(2))
    state = adam.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    other = StackedAdam(parameters)
    other.load_state_dict(state)
    for one in (adam, other):
        parameters.grad = gradients[1].clone()
        one.step(parameters, torch.ones(2))
    assert before.keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(state[name], before[name]) for name in before)


# Schedules. Steps of 5e-5 lie on both sides of the 1e-4 by which a loss must improve to count.
a_loss = st.one_of(
    st.integers(-4, 8).map(lambda steps: 2 * (1 - 5e-5 * steps)),
    st.floats(0, 10, allow_nan=False),
    st.just(0.0),
)
loss_tables = st.integers(1, 4).flatmap(
    lambda replicates: st.lists(st.lists(a_loss, min_size=replicates, max_size=replicates), min_size=1, max_size=40)
)


def ordinary_rates(losses, learning_rate, factor, patience):
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=factor, patience=patience)
    rates = []
    for loss in losses:
        scheduler.step(loss)
        rates.append(adam.param_groups[0]["lr"])
    return rates


def plateau_rates(table, learning_rate, factor, patience):
    plateau, rates = Plateau.start([learning_rate] * len(table[0])), []
    for losses in table:
        plateau.update(torch.tensor(losses, dtype=torch.float64), factor, patience)
        rates.append(plateau.learning_rate.tolist())
    return rates


@given(
    table=loss_tables,
    learning_rate=st.sampled_from([1e-2, 1e-3, 3e-7, 1.3e-8, 1.2e-8, 1e-8]),
    factor=st.sampled_from([0.2, 0.5, 0.1]),
    patience=st.integers(0, 3),
)
@ordinary
def test_the_plateau_is_the_ordinary_schedulers_for_each_replicate(table, learning_rate, factor, patience):
    rates = plateau_rates(table, learning_rate, factor, patience)
    for replicate in range(len(table[0])):
        losses = [row[replicate] for row in table]
        expected = ordinary_rates(losses, learning_rate, factor, patience)
        assert [row[replicate] for row in rates] == expected


def test_rates_fall_after_more_than_seven_bad_epochs_until_they_are_tiny():
    # The first loss stands still, the second improves each epoch, the third by less than 1e-4 in all.
    table = [[1.0, 1 - 1e-3 * epoch, 1 - 1e-6 * epoch] for epoch in range(80)]
    rates = plateau_rates(table, 1e-3, 0.2, 7)
    drops = [epoch for epoch in range(1, 80) if rates[epoch][0] < rates[epoch - 1][0]]
    assert drops == [8, 16, 24, 32, 40, 48, 56, 64]  # at 72 the rate would fall by less than 1e-8
    assert rates[-1] == [pytest.approx(1e-3 * 0.2**8), 1e-3, pytest.approx(1e-3 * 0.2**8)]


@given(table=loss_tables, patience=st.integers(1, 4))
@ordinary
def test_patience_is_an_ordinary_counter_for_each_replicate(table, patience):
    state = Patience.start(len(table[0]))
    best, waited = [math.inf] * len(table[0]), [0] * len(table[0])
    for losses in table:
        for replicate, loss in enumerate(losses):
            if loss < best[replicate]:
                best[replicate], waited[replicate] = loss, 0
            else:
                waited[replicate] += 1
        stopped = state.update(torch.tensor(losses, dtype=torch.float64), patience)
        assert stopped.tolist() == [count >= patience for count in waited]


@pytest.mark.parametrize("state", [Plateau.start([1e-3] * 4), Patience.start(4)])
def test_keeping_rows_of_a_schedule_drops_the_others(state):
    arguments = (0.2, 1) if isinstance(state, Plateau) else (1,)
    for losses in ([1, 2, 3, 4], [2, 1, 4, 3], [3, 0, 5, 3]):
        state.update(torch.tensor(losses, dtype=torch.float64), *arguments)
    kept = keep(state, torch.tensor([3, 1]))
    assert type(kept) is type(state)
    for name, values in tensors_of(state).items():
        assert getattr(kept, name).tolist() == values[[3, 1]].tolist()
