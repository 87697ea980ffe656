import copy
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, ReduceLROnPlateau, SequentialLR

from trainables.config import CellSettings
from trainables.engine.optimiser import Optimiser, Patience, Plateau, Row, Stack, keep

CPU = torch.device("cpu")


ordinary = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Optimisers and schedules, against PyTorch's own

EPOCHS = 12
OPTIMISERS = [
    pytest.param({}, id="adam"),
    pytest.param({"weight_decay": 0.3}, id="adam-l2"),
    pytest.param({"optimizer": "adamw", "weight_decay": 0.3}, id="adamw"),
    pytest.param({"optimizer": "sgd"}, id="sgd"),
    pytest.param({"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.3}, id="sgd-momentum-l2"),
]
SCHEDULES = [{"schedule": "plateau", "plateau_patience": 1}, {"schedule": "cosine"}, {"schedule": "constant"}]
RATES = (1e-3, 1e-1, 1e-2)
# Losses of three rows by epoch: the first never gets better, the second always, the third at first.
LOSSES = torch.tensor([[1.0, 1 / (epoch + 1), max(9 - epoch, 5)] for epoch in range(EPOCHS)], dtype=torch.float64)
SCALE = 10.0 ** -torch.arange(10, dtype=torch.float64)  # down to 1e-9: below Adam's eps of 1e-8


def stack_of(start, **settings):
    cell = CellSettings(model="a:B", max_epochs=EPOCHS, **settings)
    cells = {Row(str(row), row): cell.model_copy(update={"learning_rate": rate}) for row, rate in enumerate(RATES)}
    return Stack.start(cells, start.clone())


def gradient_of(parameters, noise):
    """It depends on the parameters, so that a wrong step shows in all later ones; norms are 0.5 to 3."""
    return ((parameters.detach() * 0.1 + noise) * SCALE).to(parameters.dtype)


def train(stack, noise, epochs=range(EPOCHS)):
    """Take two steps in each epoch; noise is [epochs, 2, K, P]. Return the rates, [epochs, K]."""
    rates = []
    for epoch in epochs:
        rates.append(stack.learning_rates(epoch))
        for of_step in noise[epoch]:
            stack.parameters.grad = gradient_of(stack.parameters, of_step)
            stack.optimiser.step(stack.parameters, rates[-1].to(stack.parameters.dtype))
            assert stack.parameters.grad is None
        stack.end_epoch(epoch + 1, LOSSES[epoch, [row.seed for row in stack.rows]])
    return torch.stack(rates)


def by_pytorch(start, noise, row, cell):
    """The same for one row, as one writes it in PyTorch; return its parameters and rates."""
    parameters = nn.Parameter(start[row].clone())
    decay = {"lr": RATES[row], "weight_decay": cell.weight_decay}
    match cell.optimizer:
        case "adam":
            optimiser = torch.optim.Adam([parameters], **decay)
        case "adamw":
            optimiser = torch.optim.AdamW([parameters], **decay)
        case "sgd":
            optimiser = torch.optim.SGD([parameters], momentum=cell.momentum, **decay)
    warmup = cell.warmup_epochs
    schedule = LinearLR(optimiser, 1 / (warmup + 1), total_iters=warmup) if warmup else None
    if cell.schedule == "plateau":
        plateau = ReduceLROnPlateau(optimiser, factor=cell.plateau_factor, patience=cell.plateau_patience)
    elif cell.schedule == "cosine":
        cosine = CosineAnnealingLR(optimiser, EPOCHS - warmup)
        schedule = SequentialLR(optimiser, [schedule, cosine], [warmup]) if warmup else cosine
    rates = []
    for epoch in range(EPOCHS):
        rates.append(optimiser.param_groups[0]["lr"])
        for of_step in noise[epoch]:
            parameters.grad = gradient_of(parameters, of_step[row])
            if cell.clip_norm:
                nn.utils.clip_grad_norm_([parameters], cell.clip_norm)
            optimiser.step()
        if cell.schedule == "plateau" and epoch >= warmup:
            plateau.step(LOSSES[epoch, row].item())
        elif schedule is not None:
            schedule.step()
    return parameters.detach(), torch.tensor(rates, dtype=torch.float64)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["schedule"])
@pytest.mark.parametrize("more", [{}, {"clip_norm": 1.0}, {"warmup_epochs": 3}, {"clip_norm": 1.0, "warmup_epochs": 3}])
def test_every_row_has_the_weights_of_an_ordinary_training(optimiser, schedule, more):
    start, noise = random(3, 10, seed=2), random(EPOCHS, 2, 3, 10, seed=1)
    stack = stack_of(start, **optimiser, **schedule, **more)
    rates = train(stack, noise)
    # In float64, operations in another order differ by 1e-16 of a weight, a wrong formula by far more than 1e-12: the
    # parameters move by 1e-3 or more. PyTorch's cosine is a recursion, whose error is 1e-15 after twelve epochs.
    for row in range(3):
        expected, expected_rates = by_pytorch(start, noise, row, stack.settings)
        torch.testing.assert_close(stack.parameters[row].detach(), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(rates[:, row], expected_rates, rtol=1e-12, atol=1e-15)
        assert (expected - start[row]).abs().max() > 1e-3
    if more.get("clip_norm"):
        other = stack_of(start, **optimiser, **schedule, **more | {"clip_norm": 0.0})
        train(other, noise)
        assert ((stack.parameters - other.parameters).abs().max(dim=1).values > 1e-6).all()


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_in_float32_the_weights_are_ordinary_to_rounding(optimiser):
    # A weight of about 1 has a rounding error of 6e-8 in each of 24 steps.
    start, noise = random(3, 10, seed=2).float(), random(EPOCHS, 2, 3, 10, seed=1)
    stack = stack_of(start, **optimiser, schedule="cosine", clip_norm=1.0)
    train(stack, noise)
    for row in range(3):
        expected, _ = by_pytorch(start, noise, row, stack.settings)
        torch.testing.assert_close(stack.parameters[row].detach(), expected, rtol=0, atol=24 * 6e-8)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["schedule"])
def test_a_stack_goes_on_after_a_checkpoint_and_without_some_rows(optimiser, schedule):
    start, noise = random(3, 10, seed=2), random(EPOCHS, 2, 3, 10, seed=1)
    settings = {**optimiser, **schedule, "clip_norm": 1.0, "warmup_epochs": 3}
    straight, stopped = stack_of(start, **settings), stack_of(start, **settings)
    rates = train(straight, noise)
    before = train(stopped, noise, range(5))
    state, snapshot = stopped.state_dict(), copy.deepcopy(stopped.state_dict())
    resumed = stack_of(random(3, 10), **settings).restored(state)
    middle = [train(one, noise, range(5, 8)) for one in (stopped, resumed)][1]
    # Neither the training that a state was taken from nor one that goes on from it may change it.
    assert all(torch.equal(value, snapshot["optimiser"][name]) for name, value in state["optimiser"].items())
    kept = resumed.keep([2, 0])
    after = train(kept, noise[:, :, [2, 0]], range(8, EPOCHS))
    # Each element has the same operations, but a norm may sum in another order beside fewer rows.
    torch.testing.assert_close(kept.parameters, straight.parameters[[2, 0]], rtol=0, atol=1e-14)
    assert torch.equal(torch.cat([before, middle])[:, [2, 0]], rates[:8, [2, 0]])
    assert torch.equal(after, rates[8:, [2, 0]])


def test_by_default_a_step_is_the_fused_kernels_at_rate_1_scaled_by_row():
    # To the bit: results of today are stored under ids that stay.
    start, rates = random(3, 10, seed=2).float(), torch.tensor(RATES)
    stack, expected, unit_step = stack_of(start), start.clone(), torch.zeros(3, 10)
    adam = torch.optim.Adam([unit_step], lr=1.0, fused=True)
    for of_step in random(5, 3, 10, seed=1).float():
        stack.parameters.grad, unit_step.grad = of_step.clone(), of_step.clone()
        stack.optimiser.step(stack.parameters, rates)
        unit_step.zero_()
        adam.step()
        expected.addcmul_(unit_step, rates[:, None])
    assert torch.equal(stack.parameters, expected)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_frozen_parameters_keep_their_bits_and_the_others_their_steps(optimiser):
    start, noise = random(3, 10, seed=2), random(EPOCHS, 2, 3, 10, seed=1)
    frozen = torch.arange(10) % 2 == 0
    noise[..., frozen] = 0
    stack, other = stack_of(start, **optimiser), stack_of(start, **optimiser)
    stack.optimiser = Optimiser(stack.parameters, stack.settings, frozen)
    for one in (stack, other):
        parameters = one.parameters
        for of_step in noise.flatten(0, 1):
            parameters.grad = of_step.clone()
            one.optimiser.step(parameters, torch.tensor(RATES, dtype=torch.float64))
    assert torch.equal(stack.parameters[:, frozen], start[:, frozen])
    assert torch.equal(stack.parameters[:, ~frozen], other.parameters[:, ~frozen])


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
    for name, values in vars(state).items():
        assert getattr(kept, name).tolist() == values[[3, 1]].tolist()


def test_a_training_does_not_import_what_takes_seconds():
    """PyTorch's compiler, which its optimisers' classes import, and which nothing here needs."""
    script = """
import sys
from trainables.digits.mnist import load_pool
from trainables.digits.settings import CellConfig
from trainables.registry import start_training
next(start_training({CellConfig(train_pairs=20, test_pairs=20): (0,)}, load_pool("mnist5k")))
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
