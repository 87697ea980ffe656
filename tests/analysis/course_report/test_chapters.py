from collections.abc import Callable
from typing import Any

from analysis.course_report.chapters import chapters_for
from analysis.load import StudyData
from tests.analysis.conftest import StoreBuilder, with_info


def cross(store: StoreBuilder, **settings: Any) -> StudyData:
    for weight in (1, 10):
        for dropout in (0, 0.5):
            for rate in (0.001, 0.01):
                settings |= {"dropout": dropout, "learning_rate": rate, "aux_weight": weight}
                store.cell([0.80, 0.82, 0.87], sharing=True, **settings)
    return store.load()


def test_dropout_is_taken_apart_in_the_study_that_crosses_it_which_is_named(
    new_store: Callable[..., StoreBuilder],
) -> None:
    store = new_store()
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    other = cross(new_store(name="other"))
    alone, accompanied = chapters_for(data, {}), chapters_for(data, {"crossed": other})
    assert alone is not None
    assert accompanied is not None
    assert alone.crossed is data
    assert accompanied.crossed is other
    summary, _ = accompanied.opening()
    assert "points in study other (n = 3). Of these, the learning rate alone brings +0.0" in summary[-1]


def test_a_companion_of_another_protocol_is_not_used_and_the_report_says_so(
    new_store: Callable[..., StoreBuilder],
) -> None:
    store = new_store()
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    other = cross(new_store(name="other"))
    short = with_info(other, protocol={**other.info.protocol, "max_epochs": 3, "data": "mnist"})
    chapters = chapters_for(data, {"crossed": short})
    assert chapters is not None
    assert chapters.crossed is data
    summary, _ = chapters.opening()
    assert summary[-1] == "Study other is not used here: it was trained with other max epochs and data."


def test_a_study_of_other_networks_has_no_chapters(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87], batch_norm=True)
    assert chapters_for(store.load(), {}) is None
