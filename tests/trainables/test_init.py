import subprocess
import sys

import pytest

import trainables


def test_what_an_author_of_a_model_imports():
    from trainables.config import CellSettings, Draw, FunctionSettings, Metric
    from trainables.engine.examples import Examples, Split, split_examples
    from trainables.functions.random_states import get_random_states, set_random_states

    handed_on = [getattr(trainables, name) for name in trainables.__all__]
    expected = [CellSettings, Draw, Examples, FunctionSettings, Metric, Split]
    assert handed_on == [*expected, get_random_states, set_random_states, split_examples]
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        trainables.NoSuchName  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from trainables import CellSettings", "torch"),
        ("import trainables.registry", "torch"),
        ("from trainables import split_examples", "ray"),
        ("import trainables.registry; trainables.registry.build(trainables.registry.read_cell({}))", "ray"),
    ],
)
def test_importing_loads_no_more_than_it_needs(statement, absent):
    subprocess.run([sys.executable, "-c", f"{statement}\nimport sys\nassert {absent!r} not in sys.modules"], check=True)


def test_models_of_version_0_1_0_find_what_they_import():
    from trainables import config, examples

    assert (config.CellSettings, examples.Examples) == (trainables.CellSettings, trainables.Examples)
    assert (examples.Split, examples.split_examples) == (trainables.Split, trainables.split_examples)
