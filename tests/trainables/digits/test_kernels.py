"""The kernels against the torch form, which test_comparator.py holds against an ordinary module."""

import itertools

import numpy as np
import pytest
import torch

from trainables.digits.comparator import Comparator
from trainables.digits.kernels.dense import draw_masks
from trainables.digits.kernels.stack import logits
from trainables.engine.layers import dropout_masks, initial_parameters
from trainables.engine.streams import fold, stream_keys
from trainables.registry import build

SEEDS = (4, 0, 11)
PAIRS = 45  # two whole groups and a part of one, which is no multiple of four
KEYS = fold(stream_keys(SEEDS, "dropout"), 3)
COMPARATORS = [
    {"sharing": sharing, "dropout": dropout, "aux_weight": weight}
    for sharing, dropout, weight in itertools.product((False, True), (0.0, 0.5), (0.0, 10.0))
]
CLASSIFIERS = [{"model": "classifier", "sharing": True, "dropout": dropout} for dropout in (0.0, 0.5)]


def drawn(cell, dtype=torch.float64):
    """Return the model, parameters and a batch. Digits have many equal pixels, and one image is empty."""
    model, generator = build(cell), torch.Generator().manual_seed(1)
    parameters = initial_parameters(model.layers, SEEDS, torch.device("cpu")).to(dtype)
    parameters[:, 144 * (1 if cell.sharing else 2) :][:, :8] = 0  # some biases, so that some sums are 0
    images = (torch.rand(3, PAIRS, 2, 14, 14, generator=generator, dtype=torch.float64) - 0.6).clamp(min=0).to(dtype)
    images[0, 0] = 0
    return model, parameters, images, torch.randint(10, (3, PAIRS, 2), generator=generator)


def by_kernels(model, parameters, images, digits, rows=slice(None)):
    varied = {"aux_weight": torch.full((3,), float(model.settings.aux_weight), dtype=torch.float64)[rows]}
    dropout = torch.full((3,), model.settings.dropout, dtype=torch.float64)[rows]
    return model.own_step(parameters)(parameters[rows], images[rows], digits[rows], KEYS[rows], dropout, varied)


@pytest.mark.parametrize("settings", COMPARATORS + CLASSIFIERS)
def test_losses_gradients_and_logits_are_those_of_the_torch_form(settings, small_cell):
    model, parameters, images, digits = drawn(small_cell(**settings))
    losses, gradient = by_kernels(model, parameters, images, digits)
    parameters.requires_grad_()
    dropout = model.settings.dropout
    masks = dropout_masks(KEYS, PAIRS * model.mask_units, dropout).double() if dropout else None
    varied = {"aux_weight": torch.full((3,), float(model.settings.aux_weight))}
    expected = model.losses(model.forward(parameters, images, masks), digits, varied)
    expected.sum().backward()
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, parameters.grad, rtol=1e-10, atol=1e-12)
    answers = model.outputs(*logits(parameters, images))
    torch.testing.assert_close(answers, model.forward(parameters, images, None), rtol=1e-12, atol=1e-12)


def test_single_precision_agrees_to_rounding(small_cell):
    model, parameters, images, digits = drawn(small_cell(sharing=True, dropout=0.5, aux_weight=1.0), torch.float32)
    losses, gradient = by_kernels(model, parameters, images, digits)
    more, finer = by_kernels(model, parameters.double(), images.double(), digits)
    torch.testing.assert_close(losses.double(), more, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), finer, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1 - 2.0**-40])
def test_masks_are_those_of_the_torch_form_bit_by_bit(probability):
    expected = dropout_masks(KEYS, 1000, probability)
    masks = np.empty(900, np.float32)
    for key, row in zip(KEYS.numpy(), expected.numpy(), strict=True):
        draw_masks(masks, key, probability, 100, 900)
        assert np.array_equal(masks, row[100:])


def test_neither_threads_nor_the_rest_of_the_stack_change_a_bit(small_cell):
    drawn_ = drawn(small_cell(dropout=0.5, aux_weight=1.0), torch.float32)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append([*by_kernels(*drawn_), *logits(drawn_[1], drawn_[2])])
    finally:
        torch.set_num_threads(threads)
    alone = [*by_kernels(*drawn_, rows=slice(1, 2)), *logits(drawn_[1][1:2], drawn_[2][1:2])]
    for one, two, three, part in zip(*results, alone, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
        assert torch.equal(one[1:2], part)


def test_a_weight_that_is_not_a_number_shows_in_its_replicate_only(small_cell):
    model, parameters, images, digits = drawn(small_cell(sharing=True), torch.float32)
    parameters[1, 7] = torch.nan
    losses, _ = by_kernels(model, parameters, images, digits)
    assert losses.isnan().tolist() == [False, True, False]
    assert logits(parameters, images)[0].isnan().all(2).all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("settings", [{"width": 2}, {"batch_norm": True}])
def test_other_networks_take_the_torch_form(settings, small_cell):
    model = Comparator(small_cell(**settings))
    assert model.own_step(torch.zeros(1, 1)) is None
    assert Comparator(small_cell()).own_step(torch.zeros(1, 1, device="meta")) is None
