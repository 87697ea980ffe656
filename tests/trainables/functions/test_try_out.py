"""What study plan finds in a function before anything trains, by the registry."""

import json
import sys
from pathlib import Path

import pytest

from tests.trainables.functions import functions
from trainables.registry import ModelError, check, read_cell, try_functions

OWN = """
from typing import ClassVar
from trainables import FunctionSettings, Metric

class Settings(FunctionSettings):
    metrics: ClassVar = (Metric("rmse", "min"), Metric("r2"))

def train(settings: Settings, seed: int):
    yield {"val_rmse": 1, "test_r2": 1}
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Write a module with some text in place of another; return the name of its function."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(before="", after=""):
        assert before in OWN
        name = f"own_{abs(hash((after, str(tmp_path))))}"
        Path(f"{name}.py").write_text(OWN.replace(before, after))
        return f"{name}:train"

    return write


def tried(model):
    try_functions([read_cell({"model": model, "max_epochs": 3})], "val_rmse")


def test_a_function_that_yields_what_it_promises_passes(model):
    tried(model())


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            "settings: Settings,",
            "settings,",
            "its parameter settings has no annotation: expected (settings: Settings, ",
        ),
        (
            "settings: Settings,",
            "settings: dict,",
            "its parameter settings is a dict: expected a subclass of trainables",
        ),
        ("settings: Settings,", "settings: 'Setings',", "an annotation cannot be read (name 'Setings' is not defined)"),
        ("seed: int)", "seed: int, loader)", "its parameters are (settings: "),
        (", seed: int)", ")", "its parameters are (settings: "),
        ("yield", "return", "it is no generator: expected a function that yields its figures after each epoch"),
        (
            "metrics: ClassVar = (",
            "others: ClassVar = (",
            "metrics of its Settings is (): expected a tuple of Metric, as in",
        ),
        ('(Metric("rmse", "min"), Metric("r2"))', 'Metric("rmse")', "metrics of its Settings is Metric(name='rmse', "),
        ('Metric("r2")', 'Metric("rmse")', "its Settings has two metrics of one name, in (Metric(name='rmse', "),
    ],
)
def test_a_wrong_signature_is_told_by_every_command(model, before, after, problem):
    with pytest.raises(ModelError) as caught:
        read_cell({"model": (name := model(before, after))})
    assert str(caught.value).startswith(f"model {name}: {problem}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('"val_rmse"', '"train_rmse"', "with seed 0, epoch 1: val_rmse, the objective, is not yielded"),
        (', "test_r2": 1', "", "its Settings have the metric r2, but it yields none of train_r2, val_r2, test_r2"),
        ('"test_r2": 1', '"test_r2": [1]', "with seed 0, epoch 1: test_r2 is of type list: expected a number"),
        ('{"val_rmse": 1, "test_r2": 1}', "1.0", "with seed 0, epoch 1: a yield is of type float: expected a mapping"),
        (
            '"val_rmse": 1',
            '"val_rmse": 1 / (1 - seed)',
            "with seed 1, epoch 1: ZeroDivisionError: division by zero (own_",
        ),
    ],
)
def test_a_wrong_yield_is_told_by_plan(model, before, after, problem):
    name = model(before, after)
    with pytest.raises(ModelError) as caught:
        tried(name)
    assert str(caught.value).startswith(f"model {name}: {problem}")
    assert "\n" not in str(caught.value)
    check([read_cell({"model": name})], None)  # a run looks at the signature only: an epoch may take long


def test_what_a_function_prints_is_no_part_of_a_plan(capsys):
    cell = functions.Settings(model=f"{functions.__name__}:prints")
    print(json.dumps({}))
    try_functions([cell, cell.model_copy(update={"rate": 1.0})], "val_rmse")
    out, err = capsys.readouterr()
    assert json.loads(out) == {}
    assert err.count("a line that is no JSON") == 2  # one cell of a model is tried, with two seeds
