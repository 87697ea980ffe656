"""What study/ writes and what analysis/ reads are one list."""

import pytest

from analysis import stored
from study.store import schema
from study.store.parts import ENDINGS
from study.store.store import Store
from tests.study.conftest import build_result, made_info, record


def test_the_schemas_have_the_columns_of_both_sides():
    assert schema.TRIALS.names == list(stored.TRIAL_COLUMNS)
    assert schema.EPOCHS.names == list(stored.EPOCH_COLUMNS)


def test_rows_have_exactly_these_columns(tmp_path):
    made = Store(str(tmp_path), "made")
    made.write_info(made_info())
    rows = made.write(build_result([record(0, 1), record(0, 2, "completed")]))
    assert [set(row) for row in rows] == [set(stored.TRIAL_COLUMNS)]
    assert made.read_epochs().schema.names == list(stored.EPOCH_COLUMNS)


def test_columns_are_named_once_and_circumstances_are_among_them():
    assert len(set(stored.TRIAL_COLUMNS)) == len(stored.TRIAL_COLUMNS)
    assert len(set(stored.EPOCH_COLUMNS)) == len(stored.EPOCH_COLUMNS)
    assert set(stored.TRIAL_COLUMNS) > stored.CIRCUMSTANCES


@pytest.mark.parametrize("status", stored.RANK)
def test_every_status_has_its_place_in_the_names_of_parts_and_in_the_counts(status):
    assert [status in statuses for statuses in ENDINGS.values()].count(True) == 1
    assert (status in stored.FINISHED) != (status in stored.UNFINISHED)
    assert status in stored.COUNTED or status in stored.FINISHED
