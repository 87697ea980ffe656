"""What training shows of its pairs: every image once an epoch, moved and distorted, a seed's own way in any stack."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import affine_transform

from tests.trainables.engine.test_training import (
    assert_alike,
    by_seed,
    resumed,
    run,
    stopping_cell,
    through_a_file,
    timeless,
)
from trainables.digits.augment import Augmentation, distorted
from trainables.digits.pairs import draw_split
from trainables.digits.settings import CellConfig
from trainables.engine.training import Training
from trainables.registry import build, start_training

SEEDS = (4, 0, 11)
CPU = torch.device("cpu")
PAIRINGS = ("swapped", "renewed")
ALL = {"sharing": True, "aux_weight": 1, "pairing": "renewed", "shift": 1, "distort": 0.2, "batch_norm": True}
EXTRAS = [
    pytest.param({"pairing": "renewed", "shift": 2, "dropout": 0.5}, id="renewed"),
    pytest.param({"pairing": "swapped"}, id="swapped"),
    pytest.param({**ALL, "width": 0.5}, id="all"),
]


class Shown:
    """A model that notes the images and digits of each training step, instead of the real one inside."""

    def __init__(self, model):
        self._model, self.images, self.digits = model, [], []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def own_step(self, parameters):
        """What is shown can be seen in the torch form only."""

    def forward(self, parameters, images, masks, *moments, **named):
        if torch.is_grad_enabled():
            self.images.append(images.clone())
        return self._model.forward(parameters, images, masks, *moments, **named)

    def losses(self, outputs, digits, varied):
        if torch.is_grad_enabled():
            self.digits.append(digits.clone())
        return self._model.losses(outputs, digits, varied)


def shown(cell, seeds, pool, epochs=2):
    """Return, for each epoch, images [K, n, 2, 14, 14] and digits [K, n, 2] of all its training steps."""
    model = Shown(build(cell))
    training = Training(model, {cell: seeds}, pool)
    found = []
    for _ in range(epochs):
        next(training)
        found.append((torch.cat(model.images, dim=1), torch.cat(model.digits, dim=1)))
        model.images.clear(), model.digits.clear()
    return found


def by_image(images, digits):
    """Map the bytes of each image to its digit; images [..., 14, 14], digits [...]."""
    flat = images.reshape(-1, 14 * 14).numpy()
    return {image.tobytes(): digit for image, digit in zip(flat, digits.flatten().tolist(), strict=True)}


def pairs_of(images):
    """Return each pair as the bytes of its two images."""
    return [tuple(image.numpy().tobytes() for image in pair) for pair in images]


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_an_epoch_shows_every_training_image_once_with_its_digit_and_no_other(pairing, small_cell, pool):
    cell = small_cell(pairing=pairing)
    epochs = shown(cell, SEEDS, pool)
    for row, seed in enumerate(SEEDS):
        train = draw_split(pool, seed, cell.train_pairs, cell.test_pairs, cell.validation_share).train
        expected = by_image(train.images, train.digits)
        assert len(expected) == 2 * 248
        for images, digits in epochs:
            assert images[row].shape == (248, 2, 14, 14)
            assert by_image(images[row], digits[row]) == expected


def test_swapped_pairs_are_the_drawn_ones_in_their_order_half_of_them_turned_round(small_cell, pool):
    drawn, swapped = (shown(small_cell(pairing=pairing), SEEDS, pool) for pairing in ("drawn", "swapped"))
    turned = []
    for (images, digits), (others, other_digits) in zip(drawn, swapped, strict=True):
        same = (images == others).flatten(2).all(2)
        assert torch.equal(others, torch.where(same[..., None, None, None], images, images.flip(2)))
        assert torch.equal(other_digits, torch.where(same[..., None], digits, digits.flip(2)))
        turned.append(~same)
    for one, other in itertools.combinations(torch.cat(turned), 2):  # of three seeds in two epochs
        assert 0.35 < one.double().mean() < 0.65
        assert 0.35 < (one == other).double().mean() < 0.65


def test_renewed_pairs_are_others_in_each_epoch_and_for_each_seed(small_cell, pool):
    drawn = shown(small_cell(), SEEDS, pool, 1)[0][0]
    epochs = [drawn, *(images for images, _ in shown(small_cell(pairing="renewed"), SEEDS, pool))]
    for row in range(len(SEEDS)):
        for one, other in itertools.combinations(epochs, 2):
            common = {frozenset(pair) for pair in pairs_of(one[row])} & {frozenset(p) for p in pairs_of(other[row])}
            assert len(common) <= 5  # one half of a pair is expected by chance
    orders = [Augmentation(small_cell(pairing="renewed"), SEEDS, CPU).order(epoch, 248) for epoch in (0, 1)]
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0][0], orders[0][1])


@pytest.mark.parametrize("shift", [1, 2])
def test_each_image_is_moved_by_whole_pixels_and_zeros_move_in(shift):
    images = torch.rand(2, 300, 2, 14, 14, generator=torch.Generator().manual_seed(0)) + 0.1
    augmentation = Augmentation(CellConfig(shift=shift), (3, 8), CPU)
    moved = augmentation.changed(images, torch.tensor(5, dtype=torch.int32))
    places = list(itertools.product(range(-shift, shift + 1), repeat=2))
    counts = []
    for down, right in places:
        expected = torch.zeros_like(images)
        expected[..., max(down, 0) : 14 + min(down, 0), max(right, 0) : 14 + min(right, 0)] = images[
            ..., max(-down, 0) : 14 - max(down, 0), max(-right, 0) : 14 - max(right, 0)
        ]
        counts.append((moved == expected).flatten(3).all(3).sum((0, 1)))
    of_each = torch.stack(counts)  # [places, 2]
    assert of_each.sum(0).tolist() == [600, 600]  # each image is at one of these places
    expected_count = 600 / len(places)
    assert (of_each - expected_count).abs().max() < 5 * expected_count**0.5
    again = augmentation.changed(images, torch.tensor(5, dtype=torch.int32))
    other = augmentation.changed(images, torch.tensor(6, dtype=torch.int32))
    assert torch.equal(moved, again)
    assert not torch.equal(moved, other)


def test_a_shift_is_a_slice_of_the_padded_image():
    images = torch.rand(1, 50, 2, 14, 14)
    moved = Augmentation(CellConfig(shift=3), (0,), CPU).changed(images, torch.tensor(0, dtype=torch.int32))
    slices = F.pad(images, (3, 3, 3, 3)).unfold(3, 14, 1).unfold(4, 14, 1)  # [1, 50, 2, 7, 7, 14, 14]
    assert (slices == moved[:, :, :, None, None]).flatten(5).all(5).flatten(3).any(3).all()


def test_a_distortion_is_the_affine_map_of_scipy_about_the_middle():
    images, factors = torch.rand(6, 14, 14, dtype=torch.float64), torch.rand(6, 3, dtype=torch.float64) - 0.5
    for image, (turn, size, shear), found in zip(images, factors.tolist(), distorted(images, factors), strict=True):
        # Where each pixel comes from, in (x, y) about the middle: sheared, turned, scaled.
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        by_xy = np.exp(size) * turned @ np.array([[1, shear], [0, 1]])
        by_row = by_xy[::-1, ::-1]
        middle = np.full(2, 6.5)
        expected = affine_transform(image.numpy(), by_row, middle - by_row @ middle, order=1, mode="grid-constant")
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_distortions_are_drawn_within_their_bounds_for_each_image_and_step():
    augmentation = Augmentation(CellConfig(distort=0.3), (0, 5), CPU)
    first, second = (augmentation.distortions(torch.tensor(step), 400) for step in (0, 1))
    assert first.shape == (2, 400, 3)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert 0.29 < first.abs().max() <= 0.3
    assert first.mean((0, 1)).abs().max() < 0.03  # a standard error is 0.006
    assert first.std((0, 1)).tolist() == pytest.approx([0.6 / 12**0.5] * 3, rel=0.05)


def test_with_nothing_to_change_the_images_are_the_same_tensor():
    images = torch.rand(1, 5, 2, 14, 14)
    assert Augmentation(CellConfig(pairing="renewed"), (0,), CPU).changed(images, torch.tensor(0)) is images


def test_images_are_distorted_and_then_moved():
    images, step = torch.rand(2, 5, 2, 14, 14), torch.tensor(3, dtype=torch.int32)
    both, distort, shift = (
        Augmentation(CellConfig(**settings), (0, 5), CPU)
        for settings in ({"distort": 0.2, "shift": 1}, {"distort": 0.2}, {"shift": 1})
    )
    bent = distort.changed(images, step)
    expected = distorted(images.flatten(0, 2), distort.distortions(step, 10).flatten(0, 1)).view(images.shape)
    assert torch.equal(bent, expected)
    assert torch.equal(both.changed(images, step), shift.changed(bent, step))


@pytest.mark.parametrize("stack", [(7,), (3, 7), (7, 1, 2)])
def test_a_seed_is_shown_the_same_in_any_stack(stack, small_cell, pool):
    for pairing in PAIRINGS:
        cell = small_cell(pairing=pairing, shift=1)
        for (images, digits), (others, other_digits) in zip(
            shown(cell, (2, 7), pool), shown(cell, stack, pool), strict=True
        ):
            assert torch.equal(images[1], others[stack.index(7)])
            assert torch.equal(digits[1], other_digits[stack.index(7)])


def test_evaluation_shows_all_pairs_as_they_were_drawn(small_cell, pool):
    # A weight of 0 everywhere: the answer is that of the biases, so that only the pairs decide what is right.
    accuracies = []
    for settings in ({}, {"pairing": "renewed", "shift": 3, "distort": 0.5}):
        training = start_training({small_cell(learning_rate=1e-30, **settings): SEEDS}, pool)
        accuracies.append(
            [(r.figure("val_loss"), r.figure("val_accuracy"), r.figure("test_accuracy")) for r in next(training)]
        )
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize("switches", EXTRAS)
def test_the_same_call_gives_the_same_bits_and_another_stack_the_same_to_rounding(switches, small_cell, pool):
    cell = small_cell(**switches)
    one, two = (start_training({cell: SEEDS}, pool) for _ in range(2))
    expected = run(one, 2)
    assert run(two, 2) == expected
    assert torch.equal(one.stack.parameters, two.stack.parameters)
    for records in by_seed(run(start_training({cell: (0, 9)}, pool), 1)).values():
        if records[0].seed == 0:
            assert_alike(records, by_seed(expected)[0][:1], rel=1e-4)


@pytest.mark.parametrize("switches", EXTRAS)
def test_resuming_gives_the_bits_of_never_stopping(switches, small_cell, pool):
    cell = stopping_cell(small_cell, {"plateau_patience": 0, "stop_patience": 2, "max_epochs": 8, **switches})
    straight = start_training({cell: SEEDS}, pool)
    expected, states = [], []
    for records in straight:
        expected.append(timeless(records))
        states.append(through_a_file(straight.state_dict()))
    for epoch in {1, len(states) // 2, len(states) - 1}:
        assert run(resumed(cell, SEEDS, pool, states[epoch - 1])) == expected[epoch:]
