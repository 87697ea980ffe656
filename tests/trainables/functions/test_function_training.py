"""Functions as people write them: what becomes of each yield, each end and each mistake."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainables.functions import functions
from trainables import get_random_states


def told(training):
    """Train to the end; return (epoch, status, val_rmse) of every record by seed, and the errors."""
    found, errors = {}, {}
    for records in training:
        for record in records:
            own = (record.epoch, record.status, record.figures.get("val_rmse"))
            found.setdefault(record.seed, []).append(own)
            if record.error:
                errors[record.seed] = record.error
    return found, errors


def running(*values):
    return [(epoch, "running", value) for epoch, value in enumerate(values, start=1)]


def test_a_seed_has_the_same_bits_alone_and_among_others(start):
    together, errors = told(start(functions.walk, seeds=(5, 0, 2), max_epochs=5))
    assert errors == {}
    for seed, found in together.items():
        alone = told(start(functions.walk, seeds=(seed,), max_epochs=5))[0]
        assert alone == {seed: found}
    assert len({found[0][2] for found in together.values()}) == 3
    # Seed 0 yields twice and ends; seed 5 would yield seven times.
    assert [(epoch, status) for epoch, status, _ in together[0]] == [(1, "running"), (2, "running"), (2, "converged")]
    assert [(epoch, status) for epoch, status, _ in together[5]][-2:] == [(4, "running"), (5, "completed")]


def test_the_states_of_a_seed_begin_as_with_the_usual_calls(start):
    found, _ = told(start(functions.walk, seeds=(7,)))
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    first = functions.drawn()
    assert found[7][0][2] == pytest.approx(first + 0.1 * functions.drawn())


def test_the_callers_own_states_stay(start):
    random.seed(1)
    before = get_random_states()
    told(start(functions.walk))
    after = get_random_states()
    assert (after["python"], after["numpy"]) == (before["python"], before["numpy"])
    assert torch.equal(after["torch"], before["torch"])


@pytest.mark.parametrize(
    "function", [functions.without_gradients_at_its_yield, functions.without_gradients_by_inference_mode]
)
def test_gradients_that_are_off_at_a_yield_are_off_for_that_seed_only(start, function):
    together, errors = told(start(function))
    assert errors == {}
    assert told(start(function, seeds=(1,)))[0] == {1: together[1]}
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_every_record_of_three_metrics(start):
    training = start(functions.walk, seeds=(0,))
    record = next(training)[0]
    assert (record.figures["val_r2"], record.figures["test_rmse"]) == (0.25, 3.0)
    assert all(type(value) is float for value in record.figures.values())
    assert "val_bias" not in record.figures
    assert record.train_time_s > 0
    assert (training.epoch, training.rows) == (1, ((record.cell_id, 0),))


def test_an_exception_is_the_reason_of_its_seed_only(start, capsys):
    found, errors = told(start(functions.raises_in_epoch_3_of_seed_1))
    assert found[0] == [*running(1, 2, 3), (4, "completed", 4)]
    assert found[1] == [*running(1, 2), (3, "failed", None)]
    assert list(errors) == [1]
    assert errors[1].startswith("epoch 3: ZeroDivisionError: no examples (functions.py, line ")
    assert "Traceback" in capsys.readouterr().err


def test_a_seed_that_hangs_fails_by_its_own_limit(start):
    found, errors = told(start(functions.hangs_in_seed_1, epoch_limit_s=0.2))
    assert found == {0: [*running(1, 2), (2, "converged", 2)], 1: [*running(1), (2, "failed", None)]}
    assert "TimeoutError: epoch 2 took longer than 0.2 s, the epoch limit (functions.py, line" in errors[1]


def test_a_function_with_one_yield_has_converged(start):
    training = start(functions.one_yield)
    first, second = list(training)
    assert [record.status for record in first + second] == ["running"] * 2 + ["converged"] * 2
    assert [record.epoch for record in second] == [1, 1]
    # NaN and infinity are no figures; they are missing.
    assert np.isnan([second[1].figure("val_r2"), second[1].figure("test_r2"), second[1].figure("test_rmse")]).all()
    assert told(start(functions.one_yield, max_epochs=1))[0] == {0: [(1, "completed", 0)], 1: [(1, "completed", 1)]}


def test_a_function_without_a_yield_has_failed(start):
    found, errors = told(start(functions.no_yield, seeds=(0,)))
    assert found == {0: [(1, "failed", None)]}
    assert errors == {0: "the function ended before its first yield"}


def test_leaving_by_exit_is_a_failure(start):
    assert "epoch 2: SystemExit: no GPU" in told(start(functions.leaves_by_exit))[1][0]


def test_a_function_that_fails_as_it_is_closed_has_failed(start, capsys):
    found, errors = told(start(functions.fails_at_its_end, seeds=(0,), max_epochs=2))
    assert found == {0: [*running(1), (2, "failed", 1)]}
    assert errors[0].startswith("epoch 2: OSError: the disk is full (functions.py, line")
    training = start(functions.fails_at_its_end, seeds=(0,))
    next(training)
    training.close()  # a pruned cell has no use for the error: it is in the worker's log
    assert "the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["close", "drop"])
def test_closing_lets_finally_and_with_run(start, tmp_path, end):
    training = start(functions.holds_a_file_open, folder=str(tmp_path))
    records = next(training)
    if end == "close":
        training.close()
    else:
        training.drop(records[0].cell_id)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["cleaned up"] * 2
    assert training.rows == ()
    assert next(training, []) == []


def test_the_last_epoch_closes_the_function(start, tmp_path):
    found, _ = told(start(functions.holds_a_file_open, seeds=(0,), max_epochs=2, folder=str(tmp_path)))
    assert found == {0: [*running(1), (2, "completed", 2)]}
    assert (tmp_path / "0.txt").read_text() == "cleaned up"


# What is yielded


def yielding(value, checkpoint=False):
    """A function that yields a value in its second epoch."""

    def train(settings: functions.Settings, seed: int):
        yield {"val_rmse": 1}
        yield value

    return train


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0.5, "a yield is of type float: expected a mapping such as {'val_rmse': 0.5}"),
        (None, "a yield is of type NoneType: expected a mapping"),
        ({"val_rsme": 1}, "a yield has the figure 'val_rsme', which is not known; did you mean val_rmse?"),
        (
            {"qqq": 1},
            "a yield has the figure 'qqq', which is not known; expected train_rmse, val_rmse, test_rmse, train_",
        ),
        ({"val_rmse": torch.ones(3)}, "val_rmse is a Tensor of shape [3]: expected one number"),
        ({"val_rmse": np.ones((2, 1))}, "val_rmse is a ndarray of shape [2, 1]: expected one number"),
        ({"val_rmse": "0.5"}, "val_rmse is of type str: expected a number"),
        ({"val_rmse": 1, "val_r2": None}, "val_r2 is of type NoneType: expected a number"),
        ({"val_rmse": float("nan")}, "val_rmse, the objective, is not a finite number"),
        ({"val_rmse": np.array([np.inf])}, "val_rmse, the objective, is not a finite number"),
        ({"val_r2": 1}, "val_rmse, the objective, is not yielded"),
        ({"val_rmse": 1, "epoch": 3}, "it yields epoch 3: expected 2"),
        ({"val_rmse": 1, "epoch": 2.0}, "epoch is 2.0: expected a whole number, 1 for the first epoch"),
    ],
)
def test_a_yield_that_cannot_be_read_fails_the_seed(start, value, problem):
    found, errors = told(start(yielding(value), seeds=(0,)))
    assert [status for _, status, _ in found[0]] == ["running", "failed"]
    assert errors[0].startswith(f"epoch 2: {problem}")
    assert "\n" not in errors[0]


@pytest.mark.parametrize(
    "value", [1, 1.0, True, np.int64(1), np.float32(1), np.array([[1.0]]), torch.tensor(1), torch.ones(1, 1)]
)
def test_numbers_of_every_kind_are_read(start, value):
    found, errors = told(start(yielding({"val_rmse": value, "train_loss": value}), seeds=(0,)))
    assert errors == {}
    assert found[0][1] == (2, "running", 1.0)


# Setting back


def resumed(make, function, after, **more):
    """Train some epochs, save, train on, and go on from what was saved in another object and in this one."""
    whole = told(make(function, **more))[0]
    first = make(function, **more)
    before = [record for _ in range(after) for record in next(first)]
    state = first.state_dict()
    next(first, None)
    other = make(function, **more)
    first.load_state_dict(state)
    other.load_state_dict(state)
    return whole, before, told(first)[0], told(other)[0]


@pytest.mark.parametrize("after", [1, 3, 4, 5])
def test_a_function_goes_on_from_its_checkpoint_with_the_same_bits(start, after):
    whole, _, first, other = resumed(start, functions.walk_by_checkpoint, after, max_epochs=6)
    assert first == other
    saved = after - after % 2  # where the function itself goes on
    assert first == {seed: found[saved:] for seed, found in whole.items()}
    assert [found[-1][:2] for found in whole.values()] == [(5, "converged"), (6, "completed")]


def test_a_function_that_had_nothing_more_to_yield_has_converged(start):
    def train(settings: functions.Settings, seed: int, checkpoint: Path):
        if not (checkpoint / "done").exists():
            (checkpoint / "done").touch()
            yield {"epoch": 1, "val_rmse": 7}

    training, other = start(train, seeds=(0,)), start(train, seeds=(0,))
    next(training)
    other.load_state_dict(training.state_dict())
    assert told(other) == told(training) == ({0: [(1, "converged", 7)]}, {})


def test_a_function_without_a_checkpoint_begins_again(start):
    whole, _, first, other = resumed(start, functions.walk, 2, max_epochs=5)
    assert first == other == whole


def test_a_seed_that_had_ended_is_not_trained_again(start):
    training = start(functions.walk, seeds=(0, 3))
    for _ in range(3):
        records = next(training)
    assert [record.status for record in records] == ["converged", "running"]
    other = start(functions.walk, seeds=(0, 3))
    other.load_state_dict(training.state_dict())
    assert list(told(other)[0]) == [3]


def test_a_function_with_a_checkpoint_has_to_say_its_epoch(start):
    def train(settings: functions.Settings, seed: int, checkpoint: Path):
        yield {"val_rmse": 1}

    assert told(start(train, seeds=(0,)))[1][0].startswith("epoch 1: it yields no epoch: a function with a checkpoint")


def test_a_folder_lives_as_long_as_its_seed(start):
    folders = []

    def train(settings: functions.Settings, seed: int, checkpoint: Path):
        folders.append(checkpoint)
        yield {"epoch": 1, "val_rmse": 1}

    training = start(train, seeds=(0, 1))
    next(training)
    assert [folder.is_dir() for folder in folders] == [True, True]
    training.close()
    assert [folder.exists() for folder in folders] == [False, False]
