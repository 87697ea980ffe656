import dataclasses

import pandas as pd
import pytest

from analysis.load import StudyData
from analysis.statistics.sources import facts_of, warnings_of
from tests.analysis.conftest import StoreBuilder


@pytest.fixture
def data(store: StoreBuilder) -> StudyData:
    """Two cells of three seeds."""
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.85, 0.86, 0.88], sharing=True)
    return store.load()


def test_the_report_names_what_is_missing(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([None], status="failed", aux_weight=1, sharing=True)
    store.part(store.plan(aux_weight=3), [0.5] * 3, status="pruned", epochs=20)
    store.cell([0.5, 0.5], status="converged", aux_weight=100)
    damaged = store.part(store.plan(aux_weight=10), [0.5])
    damaged.write_bytes(b"PAR1")
    data = store.load()
    opening = "Not complete, so left out of all means: "
    failed = "failed: 1 of 3 (RuntimeError: worker lost)"
    assert list(warnings_of(data)) == [
        f"{opening}sharing off, dropout 0, aux weight 3, learning rate 0.001: pruned at epoch 20",
        f"{opening}sharing off, dropout 0, aux weight 10, learning rate 0.001: not run",
        f"{opening}sharing off, dropout 0, aux weight 100, learning rate 0.001: 2 of 3 seeds",
        f"{opening}sharing on, dropout 0, aux weight 1, learning rate 0.001: {failed}",
        f"trials/{damaged.name} {data.unreadable[f'trials/{damaged.name}']}, so it is left out. "
        "Run the study again to restore it.",
    ]
    trials = "3 completed, 3 pruned, 2 converged, 1 failed, 6 not run; 15 planned"
    assert dict(facts_of(data))["trials"] == trials


def test_a_failure_without_a_recorded_error_is_named(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([None], status="failed", aux_weight=1)
    data = store.load()
    (warning,) = warnings_of(dataclasses.replace(data, trials=data.trials.assign(error=None)))
    assert warning.endswith("learning rate 0.001: failed: 1 of 3")


def test_times_are_added_up_and_spanned(data: StudyData) -> None:
    starts = pd.to_datetime(["2026-01-02T03:00:00Z"] * 3 + ["2026-01-02T03:10:00Z"] * 3)
    times = [3600, 125.4, float("nan"), 1, 1, 1]
    timed = data.trials.assign(train_time_s=times, started_at=starts, finished_at=starts + pd.Timedelta("5min"))
    facts = dict(facts_of(dataclasses.replace(data, trials=timed)))
    assert facts["training time"] == "1:02:08, summed over the trials"
    assert facts["wall time"] == "0:15:00, from the first start to the last end"
    assert "training time" not in dict(facts_of(data))


def test_trials_that_are_not_planned_are_not_counted(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87, 0.88])  # of three planned seeds
    store.cell([0.80, 0.82, 0.87], aux_weight=1)
    store.cells.pop()
    assert dict(facts_of(store.load()))["trials"] == "3 completed; 3 planned"
