"""What the recorder stores and tells, with results as Tune hands them on; real runs are in test_runs.py."""

from types import SimpleNamespace

import pytest

from study.driver.recorder import Recorder
from study.driver.stopper import RunStopper
from study.grid.load import load_grid
from study.plan.jobs import plan_job
from study.plan.packs import pack_config
from study.store.files import StoreError
from study.store.store import Store
from tests.study.conftest import made_info, record
from trainables.identity import code_id

GRID = load_grid("smoke")
JOBS = [plan_job(GRID, cell, (0, 1)) for cell in GRID.cells()[:2]]
FIRST, SECOND = (job.cell.cell_id for job in JOBS)
PACK = SimpleNamespace(config=pack_config(JOBS), pickled_error_file=None)


class Heard:
    """An observer that keeps what it hears."""

    def __init__(self):
        self.lines = []

    def cell_started(self, job):
        self.lines.append(("started", job.label))

    def cell_advanced(self, cell_id, epoch, objective):
        self.lines.append(("advanced", cell_id, epoch, objective))

    def cells_set_back(self, cell_ids, reason):
        self.lines.append(("set back", cell_ids, reason))

    def cell_ended(self, cell_id, how, trials):
        self.lines.append((how, cell_id, [row["status"] for row in trials]))


def report(cell_id, epoch, status):
    records = [record(seed, epoch, status) for seed in (0, 1)]
    return {
        "cell_id": cell_id,
        "code_id": code_id("comparator"),
        "epoch": epoch,
        "objective": 0.5,
        "ended": status != "running",
        "records": records,
    }


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path), "made")
    store.write_info(made_info())
    return store


def recording(store, pruned):
    heard, stopper = Heard(), RunStopper(lambda: None)
    jobs = {job.cell.cell_id: job for job in JOBS}
    return Recorder(jobs, store, "cpu", pruned, stopper, [heard]), heard, stopper


def test_a_cell_is_stored_when_it_ends_and_observers_hear_of_it(store):
    pruned = {}
    recorder, heard, _ = recording(store, pruned)
    recorder.on_trial_start(1, [], PACK)
    assert heard.lines == [("started", job.label) for job in JOBS]
    pruned[SECOND] = 1  # the scheduler has judged the result that is shown next
    recorder.on_trial_result(1, [], PACK, {"cells": [report(FIRST, 1, "running"), report(SECOND, 1, "running")]})
    assert heard.lines[2:] == [
        ("advanced", FIRST, 1, 0.5),
        ("advanced", SECOND, 1, 0.5),
        ("pruned", SECOND, ["pruned"] * 2),
    ]
    recorder.on_trial_result(2, [], PACK, {"cells": [report(FIRST, 2, "completed"), report(SECOND, 1, "running")]})
    assert heard.lines[5:] == [("advanced", FIRST, 2, 0.5), ("finished", FIRST, ["completed"] * 2)]
    assert recorder.outcome.ended == {SECOND: "pruned", FIRST: "finished"}
    rows = store.read_trials()[0]
    assert {(row["cell_id"], row["status"], row["epochs"]) for row in rows} == {
        (FIRST, "completed", 2),
        (SECOND, "pruned", 1),
    }
    assert len({row["started_at"] for row in rows}) == 1  # by it the forecast knows the pack


def test_what_was_reported_before_a_training_began_again_does_not_count(store):
    recorder, _, _ = recording(store, {})
    recorder.on_trial_start(1, [], PACK)
    # A function that is set back begins again; without fixed bits it may end earlier than before.
    for epoch in (1, 2, 3):
        recorder.on_trial_result(epoch, [], PACK, {"cells": [report(FIRST, epoch, "running")]})
    recorder.on_trial_result(4, [], PACK, {"cells": [report(FIRST, 1, "running")]})
    recorder.on_trial_result(5, [], PACK, {"cells": [report(FIRST, 2, "converged")]})
    rows = store.read_trials()[0]
    assert [(row["status"], row["epochs"]) for row in rows] == [("converged", 2)] * 2


def test_what_is_left_of_a_pack_fails_with_the_reason(store, tmp_path):
    recorder, heard, stopper = recording(store, {})
    pack = SimpleNamespace(**vars(PACK), error_file=str(tmp_path / "error.txt"))
    (tmp_path / "error.txt").write_text("Failure # 1\nOSError: gone\n")
    recorder.on_trial_result(1, [], pack, {"cells": [report(FIRST, 1, "completed")]})  # not begun yet: nothing to keep
    recorder.on_trial_recover(1, [], pack)
    recorder.on_trial_result(1, [], pack, {"cells": [report(FIRST, 1, "completed")]})
    recorder.on_trial_error(2, [], pack)
    assert ("set back", [FIRST, SECOND], "OSError: gone") in heard.lines
    assert heard.lines[-1] == ("failed", SECOND, ["failed"] * 2)
    assert recorder.outcome.errors == {JOBS[1].label: "OSError: gone"}
    assert recorder.outcome.ended == {FIRST: "finished", SECOND: "failed"}
    assert stopper.error is None


def test_a_storage_that_nodes_do_not_share_ends_the_run(store, tmp_path):
    recorder, heard, stopper = recording(store, {})
    pack = SimpleNamespace(**vars(PACK), error_file=str(tmp_path / "error.txt"))
    (tmp_path / "error.txt").write_text("Failure # 1\nStorageNotSharedError: the node a does not see it\n")
    recorder.on_trial_error(1, [], pack)
    assert str(stopper.error).endswith("give one that all nodes share with --storage")
    assert store.read_trials()[0] == []
    assert [line[0] for line in heard.lines] == ["started", "started"]


def test_nothing_is_stored_or_told_after_an_error_of_the_storage(store):
    recorder, heard, stopper = recording(store, {})
    recorder.on_trial_start(1, [], PACK)
    stopper.note(StoreError("full"))
    recorder.on_trial_result(1, [], PACK, {"cells": [report(FIRST, 1, "completed")]})
    assert store.read_trials()[0] == []
    assert recorder.outcome.ended == {}
    assert heard.lines[-1][0] == "advanced"
