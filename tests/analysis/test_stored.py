"""What study/ writes and what analysis/ reads are one list."""

import json
import math
import re

import pytest

from analysis import stored
from analysis.parts import ENDINGS
from analysis.stored import StoredMetric
from study.store import schema
from study.store.store import Store
from tests.study.conftest import build_result, made_info, record
from trainables.digits.settings import CellConfig


def test_the_schemas_have_the_columns_of_both_sides():
    cell = CellConfig()
    of_trials = [name for name in schema.trials_schema(cell, {}).names if name not in cell.trial_figures()]
    of_epochs = [name for name in schema.epochs_schema(cell).names if name not in cell.epoch_figures()]
    assert (tuple(of_trials), tuple(of_epochs)) == (stored.TRIAL_COLUMNS, stored.EPOCH_COLUMNS)


def test_rows_have_exactly_these_columns(tmp_path):
    made = Store(str(tmp_path), "made")
    made.write_info(made_info())
    rows = made.write(build_result([record(0, 1), record(0, 2, "completed")]))
    assert [set(row) for row in rows] == [{*stored.TRIAL_COLUMNS, *CellConfig.trial_figures()}]
    assert set(made.read_epochs().schema.names) == {*stored.EPOCH_COLUMNS, *CellConfig.epoch_figures()}


def test_columns_are_named_once_and_circumstances_are_among_them():
    assert len(set(stored.TRIAL_COLUMNS)) == len(stored.TRIAL_COLUMNS)
    assert len(set(stored.EPOCH_COLUMNS)) == len(stored.EPOCH_COLUMNS)
    assert set(stored.TRIAL_COLUMNS) > stored.CIRCUMSTANCES


@pytest.mark.parametrize("status", stored.RANK)
def test_every_status_has_its_place_in_the_names_of_parts_and_in_the_counts(status):
    assert [status in statuses for statuses in ENDINGS.values()].count(True) == 1
    assert (status in stored.FINISHED) != (status in stored.UNFINISHED)
    assert status in stored.COUNTED or status in stored.FINISHED


def described(**changes):
    content = {
        "schema": 1,
        "study": "s",
        "grid": "g",
        "roles": {"a": "tuned"},
        "seeds": [0],
        "protocol": {},
        "runs": [],
    }
    return json.dumps(content | {"cells": [{"cell_id": "c", "model": "m", "a": 1}]} | changes)


def test_the_content_of_study_json_comes_back_with_keys_of_other_versions():
    text = described(description="d", search={"ranges": {"a": {}}}, notes="of a later version")
    info = stored.StudyInfo.parse(text)
    assert (info.planned, info.ranges, info.confirms, info.others) == (
        1,
        {"a": {}},
        None,
        {"notes": "of a later version"},
    )
    assert stored.StudyInfo.parse(json.dumps(info.as_dict())) == info


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seeds": 3}, "seeds is 3, expected a list"),
        ({"study": None}, "study is None, expected a str"),
        ({"contrasts": {}}, "contrasts is {}, expected a list"),
        ({"search": []}, "search is [], expected a dict"),
        ({"cells": [3]}, "a cell is 3, expected a dict"),
        ({"cells": [{"cell_id": "c", "model": "m"}]}, "no cell has the factor a"),
        ({"schema": 2}, "schema 2, expected 1"),
    ],
)
def test_a_study_json_with_a_wrong_value_is_refused_in_one_line(changes, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        stored.StudyInfo.parse(described(**changes))


def test_what_is_missing_in_a_study_json_is_named():
    with pytest.raises(ValueError, match=r"^cells, grid, protocol, roles, runs, seeds, study missing$"):
        stored.StudyInfo.parse("{}")


@pytest.mark.parametrize(
    ("unit", "scale", "value", "text", "difference"),
    [
        ("%", 100, 0.8134, "81.3 %", "+81.3 points"),
        ("%", 100, -0.0001, "0.0 %", "+0.0 points"),
        ("mg/dl", 1, 54.3219, "54.32 mg/dl", "+54.32 mg/dl"),
        ("", 1, 12345.6, "12346", "+12346"),
        ("", 1, -0.0123456, "-0.01235", "-0.01235"),
        ("", 1, 9.99996, "10.00", "+10.00"),
        ("", 1, 1.23456e-9, "1.235e-09", "+1.235e-09"),
        ("s", 1, 0.0, "0 s", "0 s"),
        ("s", 1, math.nan, "", ""),
        ("s", 1, None, "", ""),
    ],
)
def test_a_metric_is_written_with_its_scale_unit_and_sensible_digits(unit, scale, value, text, difference):
    metric = StoredMetric("rmse", "min", unit, scale)
    assert metric.format(value) == text
    assert metric.format_difference(value) == difference
