"""What the classifier shares with the comparator, and how it decides; test_training.py holds it against a module."""

import math

import pytest
import torch

from trainables.digits.classifier import Classifier
from trainables.digits.comparator import Comparator
from trainables.digits.settings import CellConfig
from trainables.engine.layers import dropout_masks, initial_parameters, parameter_count
from trainables.engine.streams import stream_keys

CPU = torch.device("cpu")
SEEDS = (4, 0, 11)


@pytest.fixture
def classifier():
    return Classifier(CellConfig(model="classifier", sharing=True))


def test_it_has_the_reports_parameters(classifier):
    # 16 x 9 + 16, 32 x 144 + 32, 64 x 128 + 64 and 10 x 64 + 10
    assert parameter_count(classifier.layers) == 160 + 4640 + 8256 + 650 == 13_706
    assert classifier.mask_units == 2 * 32 + 2 * 64


def test_it_starts_and_reads_digits_as_the_shared_comparator_does(classifier):
    # Layers, first weights and masks: a seed's classifier and comparator differ only in how they compare.
    comparator = Comparator(CellConfig(sharing=True))
    both = initial_parameters(comparator.layers, SEEDS, CPU)
    own = initial_parameters(classifier.layers, SEEDS, CPU)
    assert classifier.layers == comparator.layers[:4]
    assert torch.equal(own, both[:, :13_706])
    images = torch.rand(3, 9, 2, 14, 14, generator=torch.Generator().manual_seed(1))
    masks, all_masks = (
        dropout_masks(stream_keys(SEEDS, "dropout"), 9 * model.mask_units, 0.5) for model in (classifier, comparator)
    )
    assert torch.equal(masks, all_masks[:, : masks.shape[1]])
    for one, other in [(masks, all_masks), (None, None)]:
        digits = classifier.forward(own, images, one)
        assert digits.shape == (3, 2, 9, 10)
        assert torch.equal(digits, comparator.forward(both, images, other).digits)


def logits_of(*pairs):
    """One replicate's logits [1, 2, B, 10] of the digit probabilities of each pair."""
    probabilities = torch.zeros(1, 2, len(pairs), 10)
    for row, pair in enumerate(pairs):
        for side, digit in enumerate(pair):
            for value, probability in digit.items():
                probabilities[0, side, row, value] = probability
    return probabilities.log()


def test_the_loss_by_hand(classifier):
    logits = logits_of(({3: 0.5, 5: 0.5}, {5: 0.25, 0: 0.75}), ({8: 1}, {2: 0.125, 1: 0.875}))
    losses = classifier.losses(logits, torch.tensor([[[3, 5], [8, 2]]]), {})
    left, right = (math.log(2) + math.log(1)) / 2, (math.log(4) + math.log(8)) / 2
    assert losses.tolist() == [pytest.approx((left + right) / 2)]


@pytest.mark.parametrize(
    ("first", "second", "by_rule", "by_probability"),
    [
        ({3: 1}, {3: 1}, True, True),
        ({3: 1}, {2: 1}, False, False),
        # The likeliest are 0 and 1. Only a first 0 is not the larger: P = 0.4.
        ({0: 0.4, 5: 0.3, 7: 0.3}, {1: 0.4, 2: 0.3, 4: 0.3}, True, False),
        # The likeliest are 5 and 4. P = 0.3 + 0.3 + 0.4 (0.3 + 0.3) = 0.84.
        ({5: 0.4, 0: 0.3, 1: 0.3}, {4: 0.4, 6: 0.3, 7: 0.3}, False, True),
        # Two as likely count as the lesser one, 4; P is one half, which is enough.
        ({5: 1}, {4: 0.5, 5: 0.5}, False, True),
        # All as likely: 55 of the 100 pairs of digits are not the larger first.
        (dict.fromkeys(range(10), 0.1), dict.fromkeys(range(10), 0.1), True, True),
    ],
)
def test_the_two_decisions_by_hand(first, second, by_rule, by_probability, classifier):
    logits = logits_of((first, second))
    for digits, target in (([3, 3], True), ([4, 3], False)):
        right = classifier.sums(logits, torch.tensor([[digits]]))
        assert right["accuracy"].tolist() == [by_rule == target]
        assert right["accuracy_by_probability"].tolist() == [by_probability == target]


def test_right_answers_are_counted_over_the_batch(classifier):
    logits = logits_of(({3: 1}, {5: 1}), ({8: 1}, {2: 1}), ({0: 0.4, 5: 0.3, 7: 0.3}, {1: 0.4, 2: 0.3, 4: 0.3}))
    right = classifier.sums(logits, torch.tensor([[[3, 4], [8, 2], [5, 1]]]))
    assert [count.tolist() for count in right.values()] == [[2], [2.0], [3]]
