"""``search:`` of a grid file: what it means, and what is said where it is wrong."""

from itertools import pairwise

import pytest
import yaml

from study.grid.grid import GridError
from study.grid.load import load_grid
from study.grid.ranges import Range
from trainables.digits.settings import CellConfig

SEARCHED = {
    "name": "searched",
    "description": "A search of the tests.",
    "seeds": 5,
    "factors": {"sharing": {"role": "fixed", "values": [True]}},
    "search": {
        "ranges": {
            "aux_weight": {"low": 0.1, "high": 10, "log": True},
            "dropout": {"low": 0, "high": 0.6},
            "batch_size": {"low": 50, "high": 200, "step": 50},
        },
        "budget": {"trainings": 23},
    },
}


def searched(ranges=None, budget=None, **changes):
    search = SEARCHED["search"] | {"ranges": SEARCHED["search"]["ranges"] if ranges is None else ranges}
    return SEARCHED | {"search": search | {"budget": budget or SEARCHED["search"]["budget"]}} | changes


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "searched.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return str(path)

    return write


def test_a_search_begins_in_the_middle_of_its_ranges(write):
    grid = load_grid(write(searched()))
    assert grid.cells() == [CellConfig(sharing=True, aux_weight=1, dropout=0.3, batch_size=150)]
    assert grid.roles == dict.fromkeys(["sharing"], "fixed") | dict.fromkeys(
        ["aux_weight", "dropout", "batch_size"], "tuned"
    )
    assert grid.most_cells == 4  # of five seeds each, by a budget of 23


def test_or_with_given_cells_and_in_the_middle_of_what_they_leave_out(write):
    given = [{"aux_weight": 3}, {"dropout": 0.123456, "batch_size": 200}]
    cells = load_grid(write(searched(cells=given))).cells("mnist")
    assert cells == [
        CellConfig(sharing=True, aux_weight=3, dropout=0.3, batch_size=150, data="mnist"),
        CellConfig(sharing=True, aux_weight=1, dropout=0.123456, batch_size=200, data="mnist"),
    ]


def test_rules_and_conditions_may_name_what_is_searched(write):
    ranges = {"model": {"choices": ["comparator", "classifier"]}, "dropout": {"low": 0, "high": 0.5}}
    rules = [{"when": {"model": "classifier"}, "set": {"learning_rate": 0.01}}]
    protect = {"protect": [{"dropout": 0.25}]}
    contrast = {
        "name": "reading",
        "plus": [{"model": "classifier"}],
        "minus": [{"model": "comparator", "sharing": True}],
    }
    grid = load_grid(write(searched(ranges, rules=rules, stopping=protect, contrasts=[contrast])))
    assert grid.suggested({"model": "classifier", "dropout": 0.5}, "mnist5k") == CellConfig(
        model="classifier", sharing=True, dropout=0.5, learning_rate=0.01
    )
    assert [grid.protects(cell) for cell in grid.cells()] == [True]  # the middle
    assert not grid.protects(grid.suggested({"model": "comparator", "dropout": 0.5}, "mnist5k"))


@pytest.mark.parametrize(
    ("given", "value", "rounded"),
    [
        (Range(low=0.1, high=100.0, log=True), 0.123456, 0.123),
        (Range(low=0.1, high=100.0, log=True), 98.76, 98.8),
        (Range(low=0.12345, high=1.0, log=True), 0.12346, 0.12345),  # not below the range
        (Range(low=0.0, high=0.6), 0.123456, 0.123),
        (Range(low=0.0, high=100.0), 12.3456, 12.0),
        (Range(low=0.0, high=1.0, step=0.1), 0.31, 0.3),  # and not 0.30000000000000004
        (Range(low=8, high=64, step=8), 33, 32),
        (Range(low=1, high=1000, log=True), 123, 123),
        (Range(choices=["a", "b"]), "b", "b"),
    ],
)
def test_suggested_values_are_readable_and_inside(given, value, rounded):
    assert given.rounded(value) == rounded
    assert given.holds(rounded)
    assert str(given.rounded(value)) == str(rounded)


def test_what_a_range_holds():
    steps = Range(low=0.0, high=0.5, step=0.1)
    assert [steps.holds(value) for value in (0.3, 0.35, 0.5, 0.6)] == [True, False, True, False]
    assert [Range(low=1, high=9).holds(value) for value in (0, 1, 9, 10)] == [False, True, True, False]
    assert all(low < high for low, high in pairwise(Range(low=0.0, high=1.0).rounded(i / 7) for i in range(8)))


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        (searched({"droput": {"low": 0, "high": 0.5}}), "droput:", "unknown setting; did you mean dropout?"),
        (searched({"dropout": {"low": 0, "hihg": 0.5}}), "hihg:", "unknown key; did you mean high?"),
        (searched({"dropout": {"low": 0}}), "dropout:", "expected low and high, or choices"),
        (searched({"dropout": {}}), "dropout:", "expected low and high, or choices"),
        (searched({"dropout": {"low": 0, "high": 0.5, "choices": [0, 1]}}), "dropout:", "expected low and high, or"),
        (searched({"dropout": {"low": 0, "high": 1}}), "high:", "expected less than 1"),
        (searched({"dropout": {"low": 0.5, "high": 0.5}}), "high:", "expected more than low, 0.5, not 0.5"),
        (
            searched({"dropout": {"low": 0, "high": 0.5, "log": True}}),
            "low:",
            "a range with log begins above 0, not at 0",
        ),
        (
            searched({"fixed_data": {"low": False, "high": True}}),
            "low:",
            "a range is of numbers; give this setting choices",
        ),
        (searched({"fixed_data": {"choices": [True]}}), "choices:", "expected at least"),
        (searched({"dropout": {"choices": [0, 0.0]}}), "0.0", "0 is there twice; remove one"),
        (searched({"dropout": {"choices": [0, 2]}}), "- 2", "expected less than 1"),
        (searched({"dropout": {"choices": [0, 0.5], "log": True}}), "log:", "choices have neither log nor step"),
        (searched({"batch_size": {"low": 1, "high": 9.5}}), "high:", "expected a valid integer"),
        (searched({"batch_size": {"low": 1, "high": 9, "step": 3}}), "step:", "steps of 3 from 1 do not reach 9"),
        (
            searched({"batch_size": {"low": 1, "high": 9, "step": 0.5}}),
            "step:",
            "expected a whole number above 0, not 0.5",
        ),
        (
            searched({"dropout": {"low": 0.1, "high": 0.9, "log": True, "step": 0.1}}),
            "step:",
            "a range with log has no",
        ),
        (searched({}), "ranges:", "expected at least one, not {}"),
        (searched({"sharing": {"choices": [False, True]}}), "sharing:", "it is searched, so it has no values"),
        (searched(protocol={"dropout": 0.5}), "  dropout: 0.5", "a factor has its values in factors and cells"),
        (searched(budget={"trainings": 4}), "trainings:", "expected at least 5, the seeds of a cell, not 4"),
        (searched(budget={"minutes": 0}), "minutes:", "expected greater than 0, not 0"),
        (searched(budget={"minutes": None}), "budget:", "expected trainings, minutes or both"),
        (searched(budget={"hours": 1}), "hours:", "unknown key; expected one of trainings, minutes"),
        (searched({"data": {"choices": ["mnist", "mnist5k"]}}), "data:", "a search uses one data source"),
        (searched(budget={"minutes": True}), "minutes:", "expected a valid number, not True"),
        (searched(skip=[{"dropout": 0}]), "skip:", "a search has no product to skip cells of"),
        (
            searched(cells=[{"sharing": False}]),
            "- sharing: false",
            "not a factor of this grid; expected one of aux_weight, ",
        ),
        (searched(cells=[{"dropout": 0.7}]), "- dropout: 0.7", "no cell has 0.7; expected 0 to 0.6"),
        (searched(cells=[{"batch_size": 75}]), "- batch_size: 75", "no cell has 75; expected 50 to 200 in steps of 50"),
        (searched(cells=[{"dropout": 0.1}, {"dropout": 0.1}]), "- dropout: 0.1", "duplicate cell"),
        (
            searched(factors={"sharing": {"role": "scientific", "values": [False, True]}}),
            "values:",
            "all cells of a search have one value of it; give it one, or search it: search.ranges.sharing with choices",
        ),
        (
            searched(
                {"model": {"choices": ["comparator", "classifier"]}, "sharing": {"choices": [False, True]}}, factors={}
            ),
            "sharing:",
            "the cell model classifier, sharing off: sharing off with model classifier: expected on",
        ),
        (
            searched(contrasts=[{"name": "c", "plus": [{"dropout": 0.9}], "minus": [{"dropout": 0}]}]),
            "- dropout: 0.9",
            "no cell has 0.9; expected 0 to 0.6",
        ),
    ],
)
def test_a_wrong_search_is_refused_with_its_line_and_key(write, changes, place, message):
    path = write(changes)
    with pytest.raises(GridError) as error:
        load_grid(path)
    said = str(error.value)
    assert message in said
    assert "\n" not in said
    line = int(said.removeprefix(f"{path}:").partition(":")[0])
    text = yaml.safe_dump(changes, sort_keys=False).splitlines()
    assert place in text[line - 1], said


def test_a_budget_may_be_time_alone(write):
    grid = load_grid(write(searched(budget={"minutes": 2.5})))
    assert grid.most_cells is None
    assert grid.search.budget.describe() == "2.5 minutes"
