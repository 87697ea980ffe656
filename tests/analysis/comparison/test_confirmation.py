from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis.comparison.confirmation import confirmation_sheet, confirmed_cells, confirmed_contrasts
from analysis.load import StudyData, confirmation_study
from analysis.statistics.selection import fixed_contrasts
from tests.analysis.conftest import StoreBuilder, with_info

FRESH = [1_000_000, 1_000_001, 1_000_002, 1_000_003]
CONTRASTS = [{"name": "sharing", "plus": [{"sharing": True}], "minus": [{"sharing": False}]}]


@pytest.fixture
def confirmed(store: StoreBuilder, new_store: Callable[..., StoreBuilder]) -> tuple[StudyData, StudyData]:
    """A study of three seeds in two cells, and its confirmation of four, found in the same storage."""
    store.cell([0.80, 0.82, 0.84], [0.90, 0.91, 0.92])
    store.cell([0.83, 0.84, 0.88], [0.95, 0.95, 0.98], sharing=True)
    store.write_info(contrasts=CONTRASTS)
    again = new_store(name="abc-confirm")
    again.cells = store.cells
    again.part("cell00", [0.81, 0.83, 0.80, 0.84], [0.90] * 4, first_seed=FRESH[0])
    again.part("cell01", [0.84, 0.85, 0.83, 0.88], [0.93, 0.94, 0.92, 0.93], first_seed=FRESH[0])
    data = store.load()
    data = with_info(data, contrasts=CONTRASTS)
    again.write_info(seeds=FRESH, confirms="abc", contrasts=fixed_contrasts(data))
    confirmation = confirmation_study(str(store.storage), data)
    assert confirmation is not None
    return data, confirmation


def test_selection_and_confirmation_are_independent(confirmed: tuple[StudyData, StudyData]) -> None:
    rows = confirmed_cells(*confirmed)
    assert [(row.what.split(",")[0], row.metric) for row in rows] == [
        ("sharing off", "val_accuracy"),
        ("sharing on", "val_accuracy"),
        ("sharing off", "test_accuracy"),
        ("sharing on", "test_accuracy"),
    ]
    shared = rows[3]
    assert shared.confirmed is not None
    assert (shared.selected.n, shared.confirmed.n) == (3, 4)
    oracle = stats.ttest_ind([0.84, 0.85, 0.83, 0.88], [0.83, 0.84, 0.88], equal_var=False).confidence_interval(0.95)
    assert (shared.difference, shared.low, shared.high) == pytest.approx((0.0, oracle.low, oracle.high))
    assert rows[1].difference == pytest.approx(0.93 - 0.96)  # the winner's validation accuracy falls


def test_contrasts_are_between_the_same_cells(confirmed: tuple[StudyData, StudyData]) -> None:
    (row,) = confirmed_contrasts(*confirmed)
    assert row.confirmed is not None
    assert row.selected.mean == pytest.approx(0.03)
    assert row.confirmed.mean == pytest.approx(np.mean([0.03, 0.02, 0.03, 0.04]))
    assert row.difference == pytest.approx(0.0)


def test_the_sheet_has_contrasts_first_then_cells(confirmed: tuple[StudyData, StudyData]) -> None:
    sheet = confirmation_sheet(*confirmed)
    assert len(sheet.texts) == 5
    assert sheet.texts[0][:2] == ["sharing", "test, paired"]
    assert sheet.texts[0][2] == "+3.0 (+0.5 to +5.5), n = 3"  # 4.303 * 1 / sqrt(3) = 2.48
    assert sheet.texts[2][0] == "sharing on, dropout 0, aux weight 0, learning rate 0.001"
    assert sheet.texts[2][1:3] == [
        "validation",
        "96.0 (91.7 to 100.0), n = 3",
    ]  # cut at 100
    assert sheet.texts[4][4].startswith("+0.0 (")


def test_what_is_not_confirmed_yet_is_left_open(confirmed: tuple[StudyData, StudyData]) -> None:
    data, again = confirmed
    again = with_info(again, seeds=[*FRESH, 1_000_004])
    rows = confirmed_cells(data, again)
    assert [(row.confirmed, row.difference) for row in rows] == [(None, None)] * 4
    (contrast,) = confirmed_contrasts(data, again)
    assert contrast.confirmed is None
    assert confirmation_sheet(data, again).texts[0][3:] == ["–", "–"]
