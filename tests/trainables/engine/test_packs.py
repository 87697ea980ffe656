"""Stacks of several cells: each cell trains as it would alone, and its end is its own."""

import dataclasses
import itertools

import pytest
import torch

from tests.trainables.engine.test_training import (
    RATE,
    assert_alike,
    assert_metrics,
    double_training,
    plain_training,
    plain_twins,
    run,
    stopping_cell,
    through_a_file,
    witnessed,
)
from trainables.digits.settings import CellConfig
from trainables.registry import start_training

SEEDS = (4, 0)
VARIED = (
    {"aux_weight": 0, "dropout": 0, "learning_rate": RATE},
    {"aux_weight": 10, "dropout": 0.5, "learning_rate": RATE},
    {"aux_weight": 0.5, "dropout": 0.25, "learning_rate": 4 * RATE},
)
ALIKE = [
    pytest.param({"sharing": False}, id="unshared"),
    pytest.param({"sharing": True}, id="shared"),
    pytest.param({"model": "classifier", "sharing": True}, id="classifier"),
]


def pack_of(make, alike, varied=VARIED, seeds=SEEDS):
    """Cells that differ as a stack may have it; a classifier has no auxiliary weight."""
    weightless = {"aux_weight": 0} if alike.get("model") == "classifier" else {}
    return {make(**alike, **settings | weightless): seeds for settings in varied}


def by_row(epochs):
    """Sort the records of all epochs by cell and seed."""
    rows = dict.fromkeys((record.cell_id, record.seed) for records in epochs for record in records)
    return {
        row: [record for records in epochs for record in records if (record.cell_id, record.seed) == row]
        for row in rows
    }


@pytest.mark.parametrize("alike", ALIKE)
def test_in_float64_every_row_is_a_plain_training_of_its_cell(alike, small_cell, double_pool):
    cells = pack_of(small_cell, {**alike, "max_epochs": 3})
    training = double_training(cells, double_pool)
    rows = [(cell, seed) for cell in cells for seed in SEEDS]
    assert training.rows == tuple((cell.cell_id, seed) for cell, seed in rows)
    twins = plain_twins(training)
    records = by_row(run(training, 2))
    for (cell, seed), plain in zip(rows, twins, strict=True):
        expected = itertools.islice(plain_training(plain, cell, seed, double_pool), 2)
        for record, metrics in zip(records[cell.cell_id, seed], expected, strict=True):
            assert_metrics(record, metrics, abs=1e-10)


@pytest.mark.parametrize("alike", ALIKE)
def test_a_cell_in_a_pack_trains_as_alone_to_rounding(alike, small_cell, pool):
    cells = pack_of(small_cell, alike)
    packed = by_row(run(start_training(cells, pool), 2))
    for cell in cells:
        for row, expected in by_row(run(start_training({cell: SEEDS}, pool), 2)).items():
            assert_alike(packed[row], expected, rel=1e-5)


def test_batches_and_masks_depend_on_the_seed_alone_and_no_dropout_is_exactly_none(small_cell, pool):
    cells = pack_of(small_cell, {})
    training = witnessed(cells, pool)
    run(training, 1)
    given = training.model.given
    assert len(given) == 3
    undisturbed, half, quarter = cells
    for number, (cell, drops) in enumerate(((undisturbed, 0), (half, 0.5), (quarter, 0.25))):
        rows = slice(2 * number, 2 * number + 2)
        alone = witnessed({cell: SEEDS}, pool)
        run(alone, 1)
        assert (alone.model.given == []) == (drops == 0)  # a stack without dropout draws no masks
        for (pairs, masks), (first_pairs, _) in zip(given, given, strict=True):
            assert torch.equal(pairs[rows], first_pairs[:2])
            assert (masks[rows] == 0).double().mean().item() == pytest.approx(drops, abs=0.01)
            assert masks[rows].max() == pytest.approx(1 / (1 - drops))
        for (_, masks), (_, own) in zip(given, alone.model.given, strict=False):
            assert torch.equal(masks[rows], own)
    assert all((masks[:2] == 1).all() for _, masks in given)


def test_once_the_cells_with_dropout_are_gone_no_masks_are_drawn(small_cell, pool):
    undisturbed, half, quarter = pack_of(small_cell, {})
    training = witnessed({undisturbed: SEEDS, half: SEEDS, quarter: SEEDS}, pool)
    training.drop(half.cell_id)
    run(training, 1)
    assert len(training.model.given) == 3
    training.drop(quarter.cell_id)
    run(training, 1)
    assert len(training.model.given) == 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"sharing": True}, "sharing False and True in one stack.*sharing needs two stacks"),
        ({"max_epochs": 9}, "max_epochs 3 and 9 in one stack"),
        ({"model": "classifier", "sharing": True}, "model comparator and classifier"),
    ],
)
def test_cells_that_differ_otherwise_are_refused(other, message, small_cell, pool):
    assert small_cell().stack_key == small_cell(**VARIED[1]).stack_key != small_cell(**other).stack_key
    with pytest.raises(ValueError, match=message):
        start_training({small_cell(): SEEDS, small_cell(**other): SEEDS}, pool)


def test_no_cell_is_refused(pool):
    with pytest.raises(ValueError, match="no cell"):
        start_training({}, pool)


def test_every_setting_is_varied_or_of_the_stack():
    assert len(CellConfig().stack_key) == len(CellConfig.model_fields) - 3


# Ends


STOPPING = ({}, {"aux_weight": 3, "dropout": 0.5}, {"aux_weight": 1, "learning_rate": 2.0**-7})


def stopping_pack(small_cell, seeds=(4, 0, 11)):
    """Cells whose seeds end at different epochs, one of them by failing."""
    settings = {"plateau_patience": 0, "stop_patience": 2, "max_epochs": 6}
    cells = {stopping_cell(small_cell, settings | varied): seeds for varied in STOPPING}
    return {**cells, stopping_cell(small_cell, settings | {"learning_rate": 1e300}): seeds}


def test_rows_end_as_in_their_cell_alone(small_cell, double_pool):
    # A rate of 1e300 takes any weight to infinity at once: the cell fails, and harms no other.
    cells = stopping_pack(small_cell)
    packed = by_row(run(double_training(cells, double_pool)))
    ends = {(records[-1].status, len(records)) for records in packed.values()}
    assert {status for status, _ in ends} >= {"failed", "converged"}
    assert len({epochs for _, epochs in ends}) > 2  # else nothing is tested here
    for cell, seeds in cells.items():
        for row, records in by_row(run(double_training({cell: seeds}, double_pool))).items():
            assert_alike(packed[row], records, rel=1e-6, nan_ok=True)


def test_a_dropped_cell_leaves_the_others_alone(small_cell, pool):
    cells = pack_of(small_cell, {"sharing": True})
    whole, training = start_training(cells, pool), start_training(cells, pool)
    half = list(cells)[1]
    assert run(training, 1) == run(whole, 1)
    training.drop(half.cell_id)
    assert {row.cell_id for row in training.rows} == {cell.cell_id for cell in cells} - {half.cell_id}
    assert len(training.stack.parameters) == 4
    expected, records = by_row(run(whole, 1)), by_row(run(training, 1))
    assert set(records) == {row for row in expected if row[0] != half.cell_id}
    for row, own in records.items():
        assert_alike(own, expected[row], rel=1e-5)


def test_the_training_ends_when_its_last_cell_is_dropped(small_cell, pool):
    cells = pack_of(small_cell, {})
    training = start_training(cells, pool)
    for cell in cells:
        training.drop(cell.cell_id)
    assert (training.rows, run(training)) == ((), [])


@pytest.mark.parametrize("idle_share", [0, 0.4])
def test_resuming_a_pack_gives_the_bits_of_never_stopping(idle_share, small_cell, pool):
    cells = stopping_pack(small_cell)
    straight = start_training(cells, pool, idle_share=idle_share)
    pruned = list(cells)[1].cell_id
    expected, states = [], []
    while straight.rows:
        if straight.epoch == 2:
            straight.drop(pruned)
        expected.append(run(straight, 1)[0])
        states.append(through_a_file(straight.state_dict()))
    assert 0 < len(states[2]["stack"]) < 12
    for epoch in range(2, len(states)):
        other = start_training(cells, pool, idle_share=idle_share)
        other.load_state_dict(states[epoch - 1])
        if epoch == 2:
            other.drop(pruned)
        assert run(other) == expected[epoch:]


# Rows that have ended and still sit in the stack


def test_rows_that_idle_change_nothing_but_rounding(small_cell, pool):
    cells = stopping_pack(small_cell)
    at_once, later = start_training(cells, pool), start_training(cells, pool, idle_share=0.4)
    idled = 0
    while at_once.rows:
        records, others = run(at_once, 1)[0], run(later, 1)[0]
        assert [(r.cell_id, r.seed, r.epoch) for r in records] == [(r.cell_id, r.seed, r.epoch) for r in others]
        if at_once.epoch <= 2:
            assert_alike(others, records, rel=1e-3, nan_ok=True)
        if at_once.rows != later.rows:  # rounding, which so high a rate magnifies, has brought another end
            break
        idle = len(later.stack.parameters) - len(later.rows)
        assert not later.rows or idle < 0.4 * len(later.stack.parameters)
        assert len(at_once.stack.parameters) == len(at_once.rows)
        idled += idle
    assert idled > 0  # else nothing is tested here


def test_a_row_that_idles_is_not_heard_of_and_its_neighbours_keep_their_bits(small_cell, pool):
    # With nothing dropped from the stack, the stack stays the same, and so do the bits of the other rows.
    cells = pack_of(small_cell, {"sharing": True}, seeds=(4, 0, 11))
    whole, idling = start_training(cells, pool, idle_share=1), start_training(cells, pool, idle_share=1)
    half = list(cells)[1].cell_id
    run(whole, 1), run(idling, 1)
    idling.drop(half)
    assert len(idling.stack.parameters) == 9
    for records, others in zip(run(whole), run(idling), strict=True):
        kept = [record for record in records if record.cell_id != half]
        assert [dataclasses.replace(record, train_time_s=0.0) for record in others] == kept
    assert idling.rows == ()
    assert len(idling.stack.parameters) == 0
