from analysis.course_report.chapters import chapters_for
from tests.analysis.conftest import StoreBuilder


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
