import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.engine.optimiser import Patience, Plateau, StackedAdam, keep

CPU = torch.device("cpu")


ordinary = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


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
    for name, values in vars(state).items():
        assert getattr(kept, name).tolist() == values[[3, 1]].tolist()
