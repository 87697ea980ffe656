import dataclasses
from datetime import UTC, datetime, timedelta
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.load import StudyData
from analysis.report import report_page, sheets_of
from analysis.statistics.search_summary import REST, best_in_words, history_data, importance_data
from tests.analysis.conftest import StoreBuilder, with_info, write_report

RANGES = {
    "dropout": {"low": 0.0, "high": 0.8, "log": False},
    "aux_weight": {"low": 0.1, "high": 10.0, "log": True},
    "sharing": {"choices": [False, True], "log": False},
}
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def searched(store: StoreBuilder) -> StudyData:
    store.roles = {"dropout": "tuned", "aux_weight": "tuned", "sharing": "tuned"}
    data = store.load()
    return with_info(data, search={"ranges": RANGES, "budget": {"trainings": 60}, "seed": 0, "startup": 10})


def ended(data: StudyData, minutes: dict[str, float]) -> StudyData:
    """Let the seeds of cells end at minutes after noon, each a minute after the one before."""
    at = [
        NOON + timedelta(minutes=minutes[cell] + seed)
        for cell, seed in zip(data.trials["cell_id"], data.trials["seed"], strict=True)
    ]
    return dataclasses.replace(data, trials=data.trials.assign(finished_at=at))


def test_history_is_in_the_order_in_which_cells_ended(store: StoreBuilder) -> None:
    a = store.cell([0.1] * 3, [0.80, 0.82, 0.84], aux_weight=1.0)
    b = store.cell([0.1] * 3, [0.90, 0.91, 0.92], aux_weight=2.0, dropout=0.5)
    c = store.cell([0.1] * 3, [0.85, 0.86, 0.87], aux_weight=3.0, sharing=True)
    store.part(pruned := store.plan(aux_weight=4.0), [0.1] * 3, [0.95, 0.96, 0.97], status="pruned", epochs=20)
    store.part(failed := store.plan(aux_weight=5.0), [None] * 3, status="failed")
    store.plan(aux_weight=6.0)  # not trained
    outside = store.cell([0.1] * 3, [0.99] * 3, aux_weight=0.0)
    data = ended(searched(store), {a: 0, pruned: 10, c: 20, b: 30, failed: 5, outside: 6})
    tried = history_data(data)
    assert [(cell.place, cell.cell_id, cell.pruned) for cell in tried] == [
        (1, a, False),
        (2, pruned, True),
        (3, c, False),
        (4, b, False),
    ]
    assert [cell.mean for cell in tried] == pytest.approx([0.82, 0.96, 0.86, 0.91])
    assert [cell.best for cell in tried] == pytest.approx([0.82, 0.82, 0.86, 0.91])
    assert [cell.is_best for cell in tried] == [True, False, True, True]
    assert tried[3].settings == {"dropout": 0.5, "aux_weight": 2.0, "sharing": False}
    assert "number 4 has the highest mean validation accuracy, 91.0 %: dropout 0.5, aux weight 2" in best_in_words(
        data, tried
    )


def test_a_pruned_cell_alone_is_no_best_one(store: StoreBuilder) -> None:
    store.part(store.plan(aux_weight=4.0), [0.1] * 3, status="pruned")
    store.cell([0.9] * 3, aux_weight=0.0)  # finished, but outside the ranges
    data = searched(store)
    (cell,) = history_data(data)
    assert (cell.best, cell.is_best) == (None, False)
    assert best_in_words(data, (cell,)) == "No cell of the search is complete yet."


def crossed(store: StoreBuilder, gain_of_sharing: float, noise: float = 0.0) -> StudyData:
    """Dropout brings up to 0.2, evenly; the seeds of a cell differ in how much it does."""
    slopes = [0.25 - noise, 0.25, 0.25 + noise]
    for dropout in np.linspace(0, 0.8, 9):
        for aux_weight in (0.1, 1.0, 10.0):
            for sharing in (False, True):
                values = [0.6 + slope * float(dropout) + gain_of_sharing * sharing for slope in slopes]
                store.cell([0.1] * 3, values, dropout=float(dropout), aux_weight=aux_weight, sharing=sharing)
    return searched(store)


def test_what_accuracy_depends_on_is_important(store: StoreBuilder) -> None:
    found = {i.setting: i for i in importance_data(crossed(store, 0.0)).found}
    assert found["dropout"].share == pytest.approx(1, abs=0.01)
    assert [*found][:: len(found) - 1] == ["dropout", REST]
    assert sum(i.share for i in found.values()) == pytest.approx(1)


def test_shares_are_those_of_the_variance_over_the_ranges(store: StoreBuilder) -> None:
    """A slope of 0.25 over 0 to 0.8 has variance 0.2² / 12; a switch of g has g² / 4: alike for g = 0.2 / √3."""
    found = {i.setting: i.share for i in importance_data(crossed(store, 0.2 / sqrt(3))).found}
    # Not normalised: some of the forest's variance is between its steps, in the rest.
    assert found["dropout"] == pytest.approx(0.5, abs=0.1)
    assert found["sharing"] == pytest.approx(0.5, abs=0.1)


def test_intervals_are_those_of_the_jackknife(store: StoreBuilder) -> None:
    """By its pseudo-values, n times the whole less n - 1 times the one without a seed: their t interval."""
    data = crossed(store, 0.1, noise=0.05)
    whole = {i.setting: i for i in importance_data(data).found}
    without = []
    for left_out in range(3):
        part = with_info(data, seeds=[s for s in range(3) if s != left_out])
        without.append({i.setting: i.share for i in importance_data(part).found})
    share = whole["dropout"].share
    pseudo = [3 * share - 2 * one["dropout"] for one in without]
    reach = stats.t.ppf(0.975, 2) * np.std(pseudo, ddof=1) / sqrt(3)
    assert reach > 0.01
    assert whole["dropout"].low == pytest.approx(max(0, share - reach))
    assert whole["dropout"].high == pytest.approx(min(1, share + reach))
    one = importance_data(with_info(data, seeds=[1])).found
    assert {(i.low, i.high) for i in one} == {(None, None)}


def test_what_settings_do_together_is_in_the_rest_and_not_shared_out(store: StoreBuilder) -> None:
    """Only dropout above 0.4 with sharing, or below without, is better: neither by itself accounts for anything."""
    for dropout in np.linspace(0, 0.8, 10):
        for sharing in (False, True):
            for aux_weight in (0.1, 1.0, 10.0):
                values = [0.6 + 0.1 * (sharing == (dropout > 0.4))] * 3
                store.cell(values, dropout=float(dropout), aux_weight=aux_weight, sharing=sharing)
    found = importance_data(searched(store))
    assert found.fit > 0.9
    shares = {i.setting: i.share for i in found.found}
    assert shares[REST] > 0.8
    assert max(shares["dropout"], shares["sharing"], shares["aux_weight"]) < 0.15


def test_settings_that_explain_nothing_have_no_importance(store: StoreBuilder) -> None:
    noise = np.random.default_rng(0)
    for dropout in np.linspace(0, 0.8, 20):
        store.cell(list(0.6 + 0.1 * noise.random(3)), dropout=float(dropout), aux_weight=1.0)
    data = searched(store)
    (section,) = [section for section in report_page(data, {}).sections if section.title == "The search"]
    assert section.paragraphs[1].startswith("Importance is not estimated: the settings explain nothing of cells")
    assert [sheet.name for sheet in section.sheets] == ["search"]


def test_few_cells_say_nothing_of_importance(store: StoreBuilder, tmp_path: Path) -> None:
    for place in range(7):
        store.cell([0.8, 0.81, 0.82], aux_weight=1.0 + place)
    data = searched(store)
    assert importance_data(data).found == ()
    page = report_page(data, {})
    (section,) = [section for section in page.sections if section.title == "The search"]
    assert section.paragraphs[1] == "Importance is not estimated: fewer than 8 cells are complete."
    assert [picture.name for picture in section.pictures] == ["search", "slices"]
    assert {"search.svg", "slices.png", "search.csv"} <= {
        path.name for path in write_report(data, {}, tmp_path / "out")
    }


def test_the_report_shows_a_search_and_only_where_there_is_one(store: StoreBuilder, tmp_path: Path) -> None:
    data = crossed(store, 0.1)
    page = report_page(data, {})
    names = {path.name for path in write_report(data, {}, tmp_path / "out", ["svg", "md"])}
    assert {"search.svg", "slices.svg", "importance.svg", "search.md", "importance.md"} <= names
    assert [row["setting"] for row in sheets_of(page)["importance"].rows] == ["dropout", "sharing", "aux_weight", REST]
    texts = sheets_of(page)["importance"].texts
    assert [text[1] for text in texts] == ["0 to 0.8", "off, on", "0.1 to 10, logarithmic", "–"]
    data = with_info(data, search=None)
    assert "importance" not in sheets_of(report_page(data, {}))
