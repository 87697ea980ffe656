"""The stacked training against ordinary ones: one module, one optimiser, one scheduler, one counter each."""

import copy
import dataclasses
import io
import itertools
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.trainables.digits.test_comparator import SWITCHES as COMPARATORS
from tests.trainables.digits.test_comparator import cut_masks, plain_from_row, plain_loss, row_from_plain
from trainables.digits.pairs import draw_split
from trainables.engine.layers import dropout_masks
from trainables.engine.optimiser import Optimiser
from trainables.engine.streams import fold, permutations, stream_keys
from trainables.engine.training import Training
from trainables.registry import build, start_training

SEEDS = (4, 0, 11)
SWITCHES = COMPARATORS + [
    pytest.param({"model": "classifier", "sharing": True, "dropout": dropout}, id=f"classifier-{dropout}")
    for dropout in (0, 0.5)
]
MAY_BE_MISSING = ("test_accuracy_by_probability", "train_accuracy", "train_digit_accuracy")
METRICS = ("train_loss", "val_loss", "val_accuracy", "test_accuracy", "test_digit_accuracy", *MAY_BE_MISSING)
# Both are exact in float32, in which the engine keeps the rates of a step, so that float64 trainings can agree closely.
RATE, FACTOR = 2.0**-10, 0.25


def plain_batches(pairs, seed, epoch, batch_size):
    """Yield images [B, 2, 14, 14] and digits [B, 2] in the order that the seed's stream gives for the epoch."""
    order = permutations(fold(stream_keys([seed], "order"), epoch), len(pairs.digits))[0]
    yield from DataLoader(TensorDataset(pairs.images[order], pairs.digits[order]), batch_size)


def plain_masks(cell, seed, step, batch):
    """Take the masks of a step from the seed's stream; steps are counted over all epochs."""
    if cell.dropout == 0:
        return None
    return cut_masks(dropout_masks(fold(stream_keys([seed], "dropout"), step), batch * 320, cell.dropout)[0], batch)


@torch.no_grad()
def plain_evaluation(plain, pairs, aux_weight):
    """Return loss, accuracies on target and digits, and that by probability or None, over all pairs at once."""
    outputs = plain(pairs.images)
    *said, left, right = (logits.argmax(dim=1) for logits in outputs)
    by_probability = None
    if not said:  # a classifier: its digits say it
        said = [(left <= right).long()]
        first, second = (logits.softmax(dim=1) for logits in outputs)
        not_larger = sum(first[:, i] * second[:, j] for i in range(10) for j in range(i, 10))
        by_probability = ((not_larger >= 0.5).long() == pairs.target).double().mean().item()
    target_accuracy = (said[0] == pairs.target).double().mean().item()
    digit_accuracy = (torch.stack([left, right], dim=1) == pairs.digits).double().mean().item()
    return plain_loss(outputs, pairs.digits, aux_weight).item(), target_accuracy, digit_accuracy, by_probability


def plain_training(plain, cell, seed, pool):
    """Train one seed the ordinary way; yield its metrics, learning rate and status after each epoch."""
    split = draw_split(pool, seed, cell.train_pairs, cell.test_pairs, cell.validation_share)
    adam = torch.optim.Adam(plain.parameters(), lr=cell.learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        adam, factor=cell.plateau_factor, patience=cell.plateau_patience
    )
    best, waited, step = math.inf, 0, 0
    for epoch in range(cell.max_epochs):
        learning_rate, total = adam.param_groups[0]["lr"], 0.0
        for images, digits in plain_batches(split.train, seed, epoch, cell.batch_size):
            loss = plain_loss(plain(images, plain_masks(cell, seed, step, len(images))), digits, cell.aux_weight)
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(images)
            step += 1
        val_loss, val_accuracy, *_ = plain_evaluation(plain, split.validation, cell.aux_weight)
        _, *on_test = plain_evaluation(plain, split.test, cell.aux_weight)
        scheduler.step(val_loss)
        best, waited = (val_loss, 0) if val_loss < best else (best, waited + 1)
        stopped = waited >= cell.stop_patience
        status = "completed" if epoch + 1 == cell.max_epochs else "converged" if stopped else "running"
        _, *at_the_end, _ = plain_evaluation(plain, split.train, cell.aux_weight)
        at_the_end = (None, None) if status == "running" else at_the_end
        metrics = (total / len(split.train.digits), val_loss, val_accuracy, *on_test, *at_the_end)
        yield dict(zip(METRICS, metrics, strict=True), learning_rate=learning_rate, status=status)
        if stopped:
            return


def plain_twins(training):
    """Make the plain networks with the weights that the stack has now."""
    rows = range(len(training.rows))
    return [plain_from_row(training.model.layers, training.stack.parameters, row, training.settings) for row in rows]


def double_training(cells, double_pool):
    """Set up a training that computes in float64, from the same initial weights."""
    training = start_training(cells, double_pool)
    training.stack.parameters = training.stack.parameters.detach().double().requires_grad_()
    training.stack.optimiser = Optimiser(training.stack.parameters, training.settings)
    return training


def timeless(records):
    """Records without the time that they took, the only thing in them that may differ from run to run.

    What is missing is None here: NaN is not even equal to itself.
    """
    plain = []
    for record in records:
        figures = {name: record.figure(name) for name in (*METRICS, "learning_rate")}
        missing = {name: None for name in MAY_BE_MISSING if figures[name] != figures[name]}
        plain.append(dataclasses.replace(record, figures=figures | missing, train_time_s=0.0))
    return plain


def by_seed(epochs):
    """Sort the records of all epochs by seed."""
    seeds = [record.seed for record in epochs[0]]
    return {seed: [record for records in epochs for record in records if record.seed == seed] for seed in seeds}


def run(training, epochs=None):
    """Return the records of so many epochs, or of all that are left."""
    return [timeless(records) for records in itertools.islice(training, epochs)]


def assert_metrics(record, expected, accuracies_abs=None, **tolerance):
    """Compare a record with the dictionary that a plain training yields."""
    assert record.status == expected["status"]
    for name in (*METRICS, "learning_rate"):
        within = {"abs": accuracies_abs} if accuracies_abs and "accuracy" in name else tolerance
        assert record.figure(name) == pytest.approx(expected[name], **within), name


def assert_alike(records, others, **tolerance):
    """Compare the losses closely; accuracies may differ by a pair on the boundary between two answers."""
    assert len(records) == len(others)
    for record, other in zip(records, others, strict=True):
        assert (record.seed, record.epoch) == (other.seed, other.epoch)
        assert_metrics(record, {**other.figures, "status": other.status}, accuracies_abs=1 / 62, **tolerance)


# Equivalence. The trainings have one epoch more than is compared: after its last a seed leaves the stack.


@pytest.mark.parametrize("switches", SWITCHES)
def test_in_float64_a_stack_is_three_plain_trainings(switches, small_cell, double_pool):
    # Only the order of sums differs, 1e-16; Adam magnifies that by at most 1 / eps, but any mistake is far larger.
    cell = small_cell(**switches, learning_rate=RATE, max_epochs=4)
    training = double_training({cell: SEEDS}, double_pool)
    twins = plain_twins(training)
    records = by_seed(run(training, 3))
    for row, (seed, plain) in enumerate(zip(SEEDS, twins, strict=True)):
        epochs = itertools.islice(plain_training(plain, cell, seed, double_pool), 3)
        for record, expected in zip(records[seed], epochs, strict=True):
            assert_metrics(record, expected, abs=1e-10)
        torch.testing.assert_close(training.stack.parameters[row].detach(), row_from_plain(plain), rtol=0, atol=1e-10)


@pytest.mark.parametrize("switches", SWITCHES)
def test_in_float32_a_stack_is_three_plain_trainings_to_rounding(switches, small_cell, pool):
    # Where a gradient is nothing but rounding, Adam's first steps are of full size in any direction, so a few weights
    # may differ by whole steps. The losses are compared closely, the weights by mean and upper end in units of a step.
    cell = small_cell(**switches, max_epochs=4)
    training = start_training({cell: SEEDS}, pool)
    twins = plain_twins(training)
    records = by_seed(run(training, 3))
    for row, (seed, plain) in enumerate(zip(SEEDS, twins, strict=True)):
        epochs = itertools.islice(plain_training(plain, cell, seed, pool), 3)
        for record, expected in zip(records[seed], epochs, strict=True):
            # One pair of the 62 to 250 may lie on the boundary between two answers.
            assert_metrics(record, expected, rel=1e-5, accuracies_abs=1 / 62)
        steps = (training.stack.parameters[row].detach() - row_from_plain(plain)).abs() / cell.learning_rate
        assert steps.mean() < 1e-3
        assert steps.quantile(0.999) < 0.1


def test_a_record_a_seed_and_epoch_in_the_order_given(small_cell, pool):
    training = start_training({small_cell(learning_rate=2e-3): SEEDS}, pool)
    epochs = list(training)
    assert [[record.seed for record in records] for records in epochs] == [list(SEEDS)] * 3
    assert [[record.epoch for record in records] for records in epochs] == [[1] * 3, [2] * 3, [3] * 3]
    assert {record.status for record in epochs[0] + epochs[1]} == {"running"}
    assert {record.status for record in epochs[2]} == {"completed"}
    assert all(
        record.figure("learning_rate") == 2e-3 and record.error is None for records in epochs for record in records
    )
    assert all(record.train_time_s > 0 for records in epochs for record in records)
    assert training.rows == ()
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(training)


@pytest.mark.parametrize("seeds", [(), (1, 2, 1)])
def test_no_seeds_and_repeated_seeds_are_refused(seeds, small_cell, pool):
    with pytest.raises(ValueError, match="distinct and at least one"):
        start_training({small_cell(): seeds}, pool)


# A seed and its stack


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_same_call_gives_the_same_bits(switches, small_cell, pool):
    one, two = (start_training({small_cell(**switches): SEEDS}, pool) for _ in range(2))
    for _ in range(2):
        assert timeless(next(one)) == timeless(next(two))
        assert torch.equal(one.stack.parameters, two.stack.parameters)


def test_the_bits_do_not_depend_on_pytorchs_global_generator(small_cell, pool):
    cell = small_cell(dropout=0.5)
    torch.manual_seed(1)
    one = run(start_training({cell: SEEDS}, pool))
    torch.manual_seed(2)
    assert run(start_training({cell: SEEDS}, pool)) == one


class Witness:
    """A model that notes what it is given, instead of the real one inside."""

    def __init__(self, model):
        self._model, self.given = model, []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def own_step(self, parameters):
        """Masks can be seen in the torch form only; the kernels' have the same bits (test_kernels.py)."""

    def forward(self, parameters, images, masks):
        if masks is not None:
            self.given.append((images.clone(), masks.clone()))
        return self._model.forward(parameters, images, masks)


def witnessed(cells, pool):
    """A training whose model is a Witness."""
    return Training(Witness(build(next(iter(cells)))), cells, pool)


@pytest.mark.parametrize("stack", [(7,), (3, 7), (7, 1, 2), (2, 1, 7)])
def test_a_seed_gets_the_same_weights_batches_and_masks_in_any_stack(stack, small_cell, pool):
    cell, given, initial = small_cell(dropout=0.5), {}, {}
    for seeds in ((7,), stack):
        training = witnessed({cell: seeds}, pool)
        initial[seeds] = training.stack.parameters[seeds.index(7)].clone()
        run(training, 2)
        given[seeds] = [(pairs[seeds.index(7)], masks[seeds.index(7)]) for pairs, masks in training.model.given]
    assert torch.equal(initial[7,], initial[stack])
    assert len(given[7,]) == len(given[stack]) == 6
    for (pairs, masks), (other_pairs, other_masks) in zip(given[7,], given[stack], strict=True):
        assert torch.equal(pairs, other_pairs)
        assert torch.equal(masks, other_masks)


def test_every_step_has_batches_and_masks_of_its_own(small_cell, pool):
    training = witnessed({small_cell(dropout=0.5): SEEDS}, pool)
    run(training, 2)
    steps = [given for given in training.model.given if given[0].shape[1] == 100]
    assert len(steps) == 4
    for (pairs, masks), (other_pairs, other_masks) in itertools.combinations(steps, 2):
        assert not torch.equal(pairs, other_pairs)
        assert (masks == other_masks).double().mean() < 0.6  # half are alike by chance
    first_epoch = torch.cat([pairs for pairs, _ in training.model.given[:3]], dim=1).flatten(2)
    second_epoch = torch.cat([pairs for pairs, _ in training.model.given[3:]], dim=1).flatten(2)
    for row in range(3):  # an epoch is every training pair, once
        assert len(first_epoch[row].unique(dim=0)) == 248
        assert torch.equal(first_epoch[row].unique(dim=0), second_epoch[row].unique(dim=0))


@pytest.mark.parametrize("stack", [(7,), (3, 7), (2, 1, 7)])
def test_in_another_stack_a_seed_trains_alike_to_rounding(stack, small_cell, pool):
    cell = small_cell(sharing=True, aux_weight=1, dropout=0.5)
    expected = by_seed(run(start_training({cell: (7, 1, 2)}, pool), 2))
    records = by_seed(run(start_training({cell: stack}, pool), 2))
    for seed in set(stack) & {7, 1, 2}:
        assert_alike(records[seed], expected[seed], rel=1e-5)


# Stopping


STOPPING = [
    pytest.param({"plateau_patience": 0, "stop_patience": 2}, id="plain"),
    pytest.param({"plateau_patience": 0, "stop_patience": 2, "sharing": True, "dropout": 0.5}, id="dropout"),
    pytest.param(
        {"plateau_patience": 0, "stop_patience": 2, "model": "classifier", "sharing": True, "learning_rate": 2.0**-5},
        id="classifier",
    ),
    pytest.param({"plateau_patience": 1, "stop_patience": 3, "max_epochs": 6}, id="some completed"),
]


def stopping_cell(small_cell, settings):
    """A cell with so high a rate and so little patience that its seeds end at different epochs."""
    return small_cell(**{"learning_rate": 2.0**-6, "plateau_factor": FACTOR, "max_epochs": 12, **settings})


@pytest.mark.parametrize("settings", STOPPING)
def test_seeds_end_when_plain_trainings_would_and_leave_the_others_alone(settings, small_cell, double_pool):
    cell = stopping_cell(small_cell, settings)
    training = double_training({cell: SEEDS}, double_pool)
    twins = plain_twins(training)
    epochs = []
    for records in training:
        epochs.append(timeless(records))
        running = tuple(record.seed for record in records if record.status == "running")
        assert tuple(row.seed for row in training.rows) == running
        assert len(training.stack.parameters) == len(running)  # who has ended costs nothing any more
    records = by_seed(epochs)
    assert len({len(of_seed) for of_seed in records.values()}) > 1  # else nothing is tested here
    assert len({record.figure("learning_rate") for of_seed in records.values() for record in of_seed}) > 1
    for seed, plain in zip(SEEDS, twins, strict=True):
        for record, expected in zip(records[seed], plain_training(plain, cell, seed, double_pool), strict=True):
            assert_metrics(record, expected, abs=1e-6)


def test_training_pairs_are_evaluated_for_the_seeds_that_end_and_no_other(small_cell, pool):
    evaluated = []

    cell = stopping_cell(small_cell, STOPPING[1].values[0])
    model = build(cell)
    evaluator = model.evaluator

    def counted(parameters, train):
        answer = evaluator(parameters, train)

        def answer_counted(inputs):
            evaluated.append(inputs.shape[:2].numel())
            return answer(inputs)

        return answer_counted

    model.evaluator = counted
    training = Training(model, {cell: SEEDS}, pool)
    ends = []
    for records in training:
        ends.append(sum(record.status != "running" for record in records))
        # 62 validation pairs and 250 test pairs of each seed, 248 training pairs of those that end
        assert sum(evaluated) == (62 + 250) * len(records) + 248 * ends[-1]
        evaluated.clear()
    assert {0, 1} <= set(ends)  # else nothing is tested here


def test_ends_are_told_apart(small_cell, double_pool):
    cell = stopping_cell(small_cell, STOPPING[-1].values[0])
    records = by_seed(run(double_training({cell: SEEDS}, double_pool)))
    ends = {seed: (len(of_seed), of_seed[-1].status) for seed, of_seed in records.items()}
    assert ends == {4: (6, "completed"), 0: (4, "converged"), 11: (6, "completed")}
    assert all(record.status == "running" for of_seed in records.values() for record in of_seed[:-1])


def test_patience_that_ends_with_the_last_epoch_is_a_completed_training(small_cell, pool):
    training = start_training({small_cell(max_epochs=2, stop_patience=2): SEEDS}, pool)
    training.stack.patience.best.fill_(0)  # no loss is ever better
    assert [[record.status for record in records] for records in training] == [["running"] * 3, ["completed"] * 3]


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_seed_that_diverges_fails_and_harms_no_other(poison, small_cell, pool):
    cell = small_cell(dropout=0.5, aux_weight=1)
    expected = by_seed(run(start_training({cell: SEEDS}, pool)))
    training = start_training({cell: SEEDS}, pool)
    with torch.no_grad():
        training.stack.parameters[1, 0] = poison
    records = by_seed(run(training))
    (failed,) = records[0]
    assert failed.status == "failed"
    assert not math.isfinite(failed.figure("val_loss"))
    assert "loss is nan after epoch 1" in failed.error
    for seed in (4, 11):
        assert records[seed][0] == expected[seed][0]  # in the same stack the same bits, ...
        assert_alike(records[seed], expected[seed], rel=1e-4)  # ... then, in a smaller one, the same to rounding


def test_a_rate_that_is_far_too_high_fails_every_seed(small_cell, pool):
    epochs = run(start_training({small_cell(learning_rate=1e20): SEEDS}, pool))
    (records,) = epochs
    assert [record.status for record in records] == ["failed"] * 3
    assert all("a lower learning rate may help" in record.error for record in records)


# Resuming


def through_a_file(state):
    """Write and read a state as a checkpoint does."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resumed(cell, seeds, pool, state):
    training = start_training({cell: seeds}, pool)
    training.load_state_dict(state)
    return training


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("at", [0, 1])
def test_resuming_gives_the_bits_of_never_stopping(at, switches, small_cell, pool):
    cell = small_cell(**switches)
    straight, stopped = start_training({cell: SEEDS}, pool), start_training({cell: SEEDS}, pool)
    expected = run(straight, 2)
    assert run(stopped, at) == expected[:at]
    other = resumed(cell, SEEDS, pool, through_a_file(stopped.state_dict()))
    assert run(other, 2 - at) == expected[at:]
    assert torch.equal(other.stack.parameters, straight.stack.parameters)
    assert run(other) == run(straight)  # to the end


@pytest.mark.parametrize("settings", STOPPING)
def test_resuming_after_seeds_have_ended_gives_the_bits_of_never_stopping(settings, small_cell, pool):
    cell = stopping_cell(small_cell, settings)
    straight = start_training({cell: SEEDS}, pool)
    expected, states = [], []
    for records in straight:
        expected.append(timeless(records))
        states.append(through_a_file(straight.state_dict()))
    resumed_from = [epoch for epoch, state in enumerate(states, 1) if 0 < len(state["stack"]) < len(SEEDS)]
    assert resumed_from  # else nothing is tested here
    for epoch in resumed_from:
        assert run(resumed(cell, SEEDS, pool, states[epoch - 1])) == expected[epoch:]


def test_a_finished_training_can_be_resumed_and_is_still_finished(small_cell, pool):
    cell = small_cell(max_epochs=1)
    training = start_training({cell: SEEDS}, pool)
    run(training)
    other = resumed(cell, SEEDS, pool, through_a_file(training.state_dict()))
    assert (other.epoch, other.rows, run(other)) == (1, (), [])


def flat(state):
    """Yield all values of a nested state."""
    for value in state.values():
        yield from flat(value) if isinstance(value, dict) else [value]


def test_a_state_in_memory_is_a_snapshot(small_cell, pool):
    # Neither the training that it was taken from nor one that goes on from it may change it.
    cell = small_cell(dropout=0.5)
    training = start_training({cell: SEEDS}, pool)
    run(training, 1)
    state = training.state_dict()
    before = copy.deepcopy(list(flat(state)))
    run(training, 1)
    other = resumed(cell, SEEDS, pool, state)
    run(other, 1)
    assert torch.equal(other.stack.parameters, training.stack.parameters)
    for now, then in zip(flat(state), before, strict=True):
        assert torch.equal(now, then) if isinstance(now, torch.Tensor) else now == then
