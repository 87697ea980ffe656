"""Whole reports of studies that are not as they should be: each has a clear answer, none a traceback or a warning."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from analysis.load import StudyData, load_study
from analysis.output.page import Page, write_page
from analysis.report import report_page, sheets_of
from analysis.stored import AnalysisError
from tests.analysis.conftest import StoreBuilder, with_info

ALONE: Mapping[str, StudyData] = {}


def page_of(data: StudyData, out: Path) -> Page:
    """Compose the report and write all of it, so that every figure is drawn."""
    curves = data.epochs.assign(val_accuracy=0.5)
    page = report_page(dataclasses.replace(data, epochs=curves), ALONE)
    write_page(page, out)
    return page


def cells(page: Page) -> list[list[str]]:
    """Settings, state and test accuracy of every cell."""
    return [[row[0], row[2], row[3], row[4]] for row in sheets_of(page)["cells"].texts]


def test_pruned_failed_and_missing_cells_have_a_state_and_no_mean(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.part(store.plan(aux_weight=1), [0.99] * 3, status="pruned", epochs=20)
    store.cell([None] * 3, status="failed", aux_weight=3)
    store.plan(aux_weight=10)
    page = page_of(store.load(), tmp_path)
    assert cells(page) == [
        ["off", "0", "3 seeds", "83.0"],
        ["off", "1", "pruned at epoch 20", "–"],
        ["off", "3", "failed: 3 of 3", "–"],
        ["off", "10", "not run", "–"],
    ]
    assert len(page.warnings) == 3
    assert "effects" not in sheets_of(page)
    claims = {row["key"]: row["note"] for row in sheets_of(page)["claims"].rows}
    assert claims["auxiliary loss alone"] == "not run"


def test_a_cell_short_of_seeds_has_no_mean(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.99, 0.99], aux_weight=10)
    page = page_of(store.load(), tmp_path)
    assert cells(page)[1] == ["off", "10", "2 of 3 seeds", "–"]


def test_more_seeds_than_planned_do_not_count(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87, 0.10])
    assert cells(page_of(store.load(), tmp_path)) == [["off", "0", "3 seeds", "83.0"]]


def test_of_duplicate_rows_the_finished_one_counts_once(store: StoreBuilder, tmp_path: Path) -> None:
    cell = store.cell([0.80, 0.82, 0.87])
    store.part(cell, [None] * 3, status="failed")
    store.part(cell, [0.80, 0.82])
    page = page_of(store.load(), tmp_path)
    assert cells(page) == [["off", "0", "3 seeds", "83.0"]]
    assert dict(page.facts)["trials"] == "3 completed; 3 planned"


def test_one_seed_has_means_and_no_intervals(new_store: Callable[..., StoreBuilder], tmp_path: Path) -> None:
    store = new_store(seeds=1)
    store.cell([0.81])
    store.cell([0.84], sharing=True)
    store.write_info()
    data = store.load()
    data = with_info(data, contrasts=[{"name": "sharing", "plus": [{"sharing": True}], "minus": [{"sharing": False}]}])
    page = page_of(data, tmp_path)
    assert [row[4:7] for row in sheets_of(page)["cells"].texts] == [["81.0", "–", "–"], ["84.0", "–", "–"]]
    assert sheets_of(page)["contrasts"].texts == [["sharing", "+3.0", "–", "–", "–", "1"]]
    assert {row["verdict"] for row in sheets_of(page)["claims"].rows} == {"undecided", "not measured"}
    assert "anova" not in sheets_of(page)


def test_one_cell_has_no_effects(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    page = page_of(store.load(), tmp_path)
    assert not {"effects", "contrasts", "anova", "dropout-or-rate"} & sheets_of(page).keys()
    counts = "compatible (1), not measured (5)."
    assert page.summary[0].startswith(f"Verdicts on the 6 entries of the report's Table I: {counts}")


def test_seeds_all_alike_have_no_interval(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.5] * 3)
    store.cell([0.6] * 3, sharing=True)
    page = page_of(store.load(), tmp_path)
    assert sheets_of(page)["effects"].texts[0][3:5] == ["+10.0", "–"]


def test_a_finished_trial_without_its_accuracy_is_no_seed(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.80, None, 0.87], aux_weight=10)
    page = page_of(store.load(), tmp_path)
    assert cells(page)[1] == ["off", "10", "2 of 3 seeds", "–"]


def test_nan_losses_leave_the_rest_alone(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    nan = dataclasses.replace(data, trials=data.trials.assign(val_loss=np.nan))
    assert cells(page_of(nan, tmp_path)) == [["off", "0", "3 seeds", "83.0"]]


def test_curves_of_nan_only_are_left_out(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    page = report_page(dataclasses.replace(data, epochs=data.epochs.assign(val_accuracy=np.nan)), ALONE)
    write_page(page, tmp_path, ("html",))
    assert "Learning curves" not in [section.title for section in page.sections]


def test_a_later_schema_is_refused(store: StoreBuilder) -> None:
    store.cell([0.8] * 3)
    store.write_info(schema=2)
    with pytest.raises(AnalysisError, match="has schema 2, expected 1; analyse it with the version of this program"):
        load_study(str(store.storage), "abc")
