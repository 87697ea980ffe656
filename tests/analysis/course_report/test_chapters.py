import pytest

from analysis.course_report.chapters import chapters_for, claims, table1
from analysis.report import estimates_of, report_page
from tests.analysis.conftest import StoreBuilder


def test_the_frames_are_those_of_the_report(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.85, 0.86, 0.88], sharing=True)
    data = store.load()
    page = estimates_of(report_page(data, {}))
    entries = table1(data).set_index(["row", "sharing"])["test_accuracy_mean"].dropna()
    assert sorted(entries) == pytest.approx([0.83, (0.85 + 0.86 + 0.88) / 3])
    assert len(page["table1"]) == len(table1(data)) == 6
    verdicts = claims(data).set_index("key")
    assert verdicts.loc["sharing alone", "measured_mean"] == pytest.approx((0.05 + 0.04 + 0.01) / 3)
    assert verdicts["verdict"].to_dict() == {row["key"]: row["verdict"] for row in page["claims"]}


def test_dropout_is_taken_apart_in_the_study_that_crosses_it(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    other = store.load()
    alone, accompanied = chapters_for(data, {}), chapters_for(data, {"crossed": other})
    assert alone is not None
    assert accompanied is not None
    assert alone.crossed is data
    assert accompanied.crossed is other


def test_a_study_of_other_networks_has_no_chapters(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87], batch_norm=True)
    assert chapters_for(store.load(), {}) is None
