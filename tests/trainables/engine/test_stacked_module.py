"""An ordinary nn.Module in the engine, against the same module trained alone as one writes it by hand."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from trainables.config import CellSettings
from trainables.engine.examples import Examples, Split, StackedExamples, StackedSplit, split_examples
from trainables.engine.layers import dropout_masks
from trainables.engine.model import evaluator_of
from trainables.engine.stacked_module import StackedModule
from trainables.engine.streams import fold, permutations, stream_keys
from trainables.registry import ModelError, build, start_training

HERE = f"{__name__}:"


class Plain(nn.Module):
    """A network of points in the plane; the label is whether they lie in a ring."""

    class Settings(CellSettings):
        units: int = Field(8, ge=1)
        dropout: float = Field(0.0, ge=0, lt=1)

    def __init__(self, settings):
        super().__init__()
        self.first = nn.Linear(2, settings.units)
        self.drop = nn.Dropout(settings.dropout)
        self.last = nn.Linear(settings.units, 2)

    def forward(self, inputs):
        return self.last(self.drop(F.relu(self.first(inputs))))

    @staticmethod
    def load(settings, data_dir):
        points = torch.randn(130, 2, generator=torch.Generator().manual_seed(7))
        return Examples(points, (points.norm(dim=1) < 1).long())

    @staticmethod
    def draw(pool, settings, seed):
        return split_examples(pool.inputs, pool.labels, seed, 0.2, 0.3)


class Regression(Plain):
    """The same, that says of itself what its loss is and what is right."""

    def losses(self, outputs, labels):
        return (outputs[:, 0] - labels).square()

    def correct(self, outputs, labels):
        return (outputs[:, 0] - labels).abs() < 0.5


class WithBatchNorm(Plain):
    def __init__(self, settings):
        super().__init__(settings)
        self.drop = nn.BatchNorm1d(settings.units)


class WithOtherDropout(Plain):
    def __init__(self, settings):
        super().__init__(settings)
        self.drop = nn.Dropout(0.25)


def cell_of(cls, **settings):
    defaults = {"model": HERE + cls.__name__, "batch_size": 20, "max_epochs": 3}
    return cls.Settings(**{**defaults, **settings})


def train(cell, *seeds):
    training = start_training({cell: seeds}, Plain.load(cell, None))
    return [record for records in training for record in records], training


def alone(cls, cell, seed, masks=None):
    """Train as by hand; return the module and its validation loss."""
    module = StackedModule(cls, cell).built(seed)
    split = cls.draw(cls.load(cell, None), cell, seed)
    adam = torch.optim.Adam(module.parameters(), lr=cell.learning_rate)
    keys, step = stream_keys([seed], "order"), 0
    for epoch in range(cell.max_epochs):
        for batch in permutations(fold(keys, epoch), len(split.train.labels))[0].split(cell.batch_size):
            hidden = F.relu(module.first(split.train.inputs[batch]))
            if masks is not None:
                hidden = hidden * masks(seed, step, len(batch), hidden.shape[1])
            F.cross_entropy(module.last(hidden), split.train.labels[batch]).backward()
            adam.step()
            adam.zero_grad()
            step += 1
    module.eval()
    return F.cross_entropy(module(split.validation.inputs), split.validation.labels).item()


def mask_of(probability, seed, step, examples, units):
    keys = fold(stream_keys([seed], "dropout"), step)
    return dropout_masks(keys, examples * units, probability).view(examples, units)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_each_seed_trains_as_the_module_does_alone(dropout):
    cell = cell_of(Plain, dropout=dropout)
    records, _ = train(cell, 3, 0, 11)
    masks = partial(mask_of, dropout) if dropout else None
    for record in (r for r in records if r.epoch == 3):
        assert record.figure("val_loss") == pytest.approx(alone(Plain, cell, record.seed, masks), abs=1e-6)


def test_a_seed_has_the_same_numbers_whatever_else_is_in_its_stack():
    cell = cell_of(Plain, dropout=0.5)
    together = [r.figure("val_loss") for r in train(cell, 3, 0, 11)[0] if r.seed == 0]
    assert [r.figure("val_loss") for r in train(cell, 0)[0]] == pytest.approx(together, abs=1e-6)


def test_another_seed_has_other_initial_values_and_examples():
    _, training = train(cell_of(Plain), 1, 2)
    first = build(training.settings).initial([1, 2], torch.device("cpu"))
    assert not torch.equal(first[0], first[1])
    pool = Plain.load(None, None)
    assert not torch.equal(Plain.draw(pool, None, 1).train.inputs, Plain.draw(pool, None, 2).train.inputs)


def test_accuracies_are_those_of_the_largest_logit():
    cell = cell_of(Plain, max_epochs=1)
    (record,), training = train(cell, 5)
    parameters = training.stack.parameters.detach() if len(training.stack.parameters) else None
    assert parameters is None  # all have ended: the stack is empty
    assert record.figure("val_accuracy") * 26 == pytest.approx(
        round(record.figure("val_accuracy") * 26)
    )  # 26 of 130 validate
    assert "test_digit_accuracy" not in record.figures  # it has no digits
    assert 0.4 < record.figure("test_accuracy") < 1


def test_a_module_may_have_its_own_losses_and_right_answers():
    cell = cell_of(Regression, max_epochs=1)
    model, split = build(cell), Plain.draw(Plain.load(cell, None), cell, 0)
    parameters = model.initial([0], torch.device("cpu"))
    inputs, labels = split.test.inputs[None], split.test.labels[None]
    outputs = model.forward(parameters, inputs, None)
    errors = outputs[0, :, 0] - labels[0]
    assert model.losses(outputs, labels, None).item() == pytest.approx(errors.square().mean().item())
    assert model.sums(outputs, labels)["accuracy"].item() == (errors.abs() < 0.5).sum().item()


# Batch norm


class Convolutions(Plain):
    """Batch norm of both kinds; one layer normalises twice, one keeps no running figures, one has no scales."""

    def __init__(self, settings):
        super().__init__(settings)
        self.drop = nn.BatchNorm1d(settings.units, track_running_stats=False)
        self.read = nn.Sequential(nn.Conv2d(1, 3, 2, padding=1), nn.BatchNorm2d(3, eps=1e-3), nn.ReLU(), nn.Flatten())
        self.first = nn.Linear(18, settings.units)
        self.twice = nn.BatchNorm1d(2, affine=False)

    def forward(self, inputs):
        inputs = self.twice(self.twice(inputs) ** 3)
        return super().forward(self.read(inputs.view(-1, 1, 1, 2)))


def by_pytorch(module, split):
    """Evaluate with running figures that are the moments of all examples to train on."""
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.momentum = 1.0
    with torch.no_grad():
        module.train()(split.train.inputs.to(module.last.weight.dtype))
        return module.eval()(split.validation.inputs.to(module.last.weight.dtype))


def test_batch_norm_is_evaluated_with_the_moments_of_all_training_examples():
    cell = cell_of(WithBatchNorm)
    model, seeds = build(cell), (3, 0, 11)
    splits = [model.draw(Plain.load(cell, None), cell, seed) for seed in seeds]
    stacked = StackedSplit.of(splits, torch.device("cpu"))
    parameters = model.initial(seeds, torch.device("cpu")).double()
    train = StackedExamples(stacked.train.inputs.double(), stacked.train.labels)
    inputs = stacked.validation.inputs.double()
    answer = evaluator_of(model, parameters, train)
    for row, (seed, split) in enumerate(zip(seeds, splits, strict=True)):
        expected = by_pytorch(model.built(seed).double(), split)
        torch.testing.assert_close(answer(inputs)[row], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        answer(inputs[:, 4:5]), answer(inputs)[:, 4:5], rtol=0, atol=1e-12
    )  # no neighbour counts


@pytest.mark.parametrize("cls", [WithBatchNorm, Convolutions])
def test_with_batch_norm_each_seed_trains_as_the_module_does_alone(cls):
    cell = cell_of(cls, optimizer="sgd", momentum=0.9, weight_decay=0.1, clip_norm=1, schedule="cosine")
    records, _ = train(cell, 3, 0, 11)
    for record in (r for r in records if r.epoch == 3):
        module, split = StackedModule(cls, cell).built(record.seed), cls.draw(cls.load(cell, None), cell, record.seed)
        optimiser = torch.optim.SGD(module.parameters(), cell.learning_rate, 0.9, weight_decay=0.1)
        schedule, keys = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3), stream_keys([record.seed], "order")
        for epoch in range(3):
            for batch in permutations(fold(keys, epoch), len(split.train.labels))[0].split(cell.batch_size):
                optimiser.zero_grad()
                F.cross_entropy(module(split.train.inputs[batch]), split.train.labels[batch]).backward()
                nn.utils.clip_grad_norm_(module.parameters(), 1)
                optimiser.step()
            schedule.step()
        if cls is WithBatchNorm:
            expected = F.cross_entropy(by_pytorch(module, split), split.validation.labels)
            assert record.figure("val_loss") == pytest.approx(expected.item(), abs=1e-5)
        assert record.figure("train_loss") > 0


def test_each_use_of_a_layer_has_its_own_moments():
    cell = cell_of(Convolutions)
    model, split = build(cell), Plain.draw(Plain.load(cell, None), cell, 3)
    stacked = StackedExamples.of([split.train], torch.device("cpu"))
    parameters = model.initial([3], torch.device("cpu"))
    # Evaluation on the examples that gave the moments differs from training by n / (n - 1) in variances only.
    many = StackedExamples(stacked.inputs.repeat(1, 100, 1), stacked.labels.repeat(1, 100))
    answer = evaluator_of(model, parameters, many)(stacked.inputs)
    torch.testing.assert_close(answer, model.forward(parameters, stacked.inputs, None), rtol=0, atol=5e-3)


class Frozen(Plain):
    def __init__(self, settings):
        super().__init__(settings)
        self.first.requires_grad_(False)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_frozen_layers_keep_their_values_and_are_in_no_norm(optimizer):
    cell = cell_of(Frozen, optimizer=optimizer, weight_decay=0.5, clip_norm=0.1)
    training = start_training({cell: (3, 0)}, Plain.load(cell, None))
    before = training.stack.parameters.detach().clone()
    next(training)
    after = training.stack.parameters.detach()
    assert torch.equal(after[:, :24], before[:, :24])  # 2 x 8 weights and 8 biases
    assert (after[:, 24:] != before[:, 24:]).all()
    resumed = start_training({cell: (3, 0)}, Plain.load(cell, None))
    resumed.load_state_dict(training.state_dict())
    next(resumed)
    assert torch.equal(resumed.stack.parameters[:, :24], before[:, :24])


def test_dropout_that_is_not_the_settings_is_refused():
    with pytest.raises(
        ModelError, match=r"nn.Dropout\(0.25\) in .*: write nn.Dropout\(settings.dropout\), which is 0.5"
    ):
        build(cell_of(WithOtherDropout, dropout=0.5))


def test_a_checkpoint_goes_on_with_the_same_bits():
    cell = cell_of(Plain, dropout=0.5)
    whole = [r.figure("val_loss") for r in train(cell, 1, 2)[0]]
    training = start_training({cell: (1, 2)}, Plain.load(cell, None))
    next(training)
    state = training.state_dict()
    again = start_training({cell: (1, 2)}, Plain.load(cell, None))
    again.load_state_dict(state)
    assert [r.figure("val_loss") for records in again for r in records] == whole[2:]


def test_cells_that_differ_in_the_learning_rate_alone_train_in_one_stack():
    slow, fast = cell_of(Plain), cell_of(Plain, learning_rate=0.01)
    assert slow.stack_key == fast.stack_key != cell_of(Plain, units=4).stack_key
    together = [r for records in start_training({slow: [0], fast: [0]}, Plain.load(slow, None)) for r in records]
    expected = [r.figure("val_loss") for r in train(fast, 0)[0]]
    assert [r.figure("val_loss") for r in together if r.cell_id == fast.cell_id] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="units 8 and 4 in one stack"):
        start_training({slow: [0], cell_of(Plain, units=4): [0]}, Plain.load(slow, None))


def test_the_parts_of_a_split_are_whole_and_apart():
    numbers = torch.arange(130)
    split = split_examples(numbers.float(), numbers, 4, 0.2, 0.3)
    parts = [part.labels for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [65, 26, 39]
    assert torch.cat(parts).sort().values.equal(numbers)
    assert isinstance(split, Split)
    with pytest.raises(ValueError, match="leave -2 to train on, 6 to validate and 6 to test"):
        split_examples(numbers[:10].float(), numbers[:10], 0, 0.6, 0.6)
