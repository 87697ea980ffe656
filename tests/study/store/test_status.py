import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from analysis import load
from study.cli.studies import render_status, show_status
from study.grid.load import load_grid
from study.plan.jobs import study_info
from study.store.files import StoreError
from study.store.heartbeat import DRIVER_JSON
from study.store.parts import Parts
from study.store.status import count_trials, read_status
from study.store.store import Store
from tests.study.conftest import build_result, record


@pytest.fixture
def store(tmp_path, make_result):
    """A run of ``smoke``: one cell finished, one pruned, one failed, one not trained yet."""
    grid = load_grid("smoke")
    store = Store(str(tmp_path), "abc")
    store.write_info(study_info("abc", grid, grid.cells(), (0, 1), None))
    done, pruned, failed, _ = grid.cells()
    store.write(make_result([record(seed, 3, "completed") for seed in (0, 1)], done))
    store.write(make_result([record(seed, 2) for seed in (0, 1)], pruned))
    store.write(make_result([], failed, seeds=(0, 1), ended="failed", error="RuntimeError: worker lost"))
    return store


def beat(store, age_s=0, **report):
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="seconds")
    who = {"id": "x", "host": "node7", "pid": 42, "beats": 1, "started_at": "2026-01-02T03:04:05+00:00", "beat_at": at}
    store.folder.put(DRIVER_JSON, json.dumps(who | report).encode())


def shown(status):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_status(status))
    return console.export_text()


REPORT = {
    "cells": 4,
    "ended": {"finished": 1, "failed": 1},
    "running": [{"label": "sharing on", "seeds": 2, "max_epochs": 3, "epoch": 2, "objective": 0.75}],
    "trainings_per_min": 60.0,
    "time_left_s": 75.0,
    "nodes": 3,
}


def test_trials_are_counted_and_failures_named(store):
    status = read_status(store)
    assert (status.planned, status.trials) == (8, {"finished": 2, "pruned": 2, "failed": 2})
    assert status.failures == (("sharing on, aux_weight 0", "RuntimeError: worker lost"),)
    text = shown(status)
    assert "abc: 8 trials: 2 finished, 2 pruned, 2 failed, 2 not trained yet\n" in text
    assert "failed: sharing on, aux_weight 0: RuntimeError: worker lost\n" in text
    assert "No run is in progress." in text


def test_a_running_study_shows_its_driver_and_cells_in_flight(store):
    beat(store, **REPORT)
    text = shown(read_status(store))
    assert "Run by process 42 on node7, since 2026-01-02T03:04:05+00:00, nodes: 3\n" in text
    assert "2 of 4 cells of this run done, 1 failed; 60.0 trainings/min, about 1 min 15 s left\n" in text
    assert ["sharing", "on", "2", "2", "of", "3", "75.0", "%"] in [line.split() for line in text.splitlines()]


def test_a_run_that_has_just_begun_says_so(store):
    beat(store)
    assert "Run by process 42 on node7, since 2026-01-02T03:04:05+00:00: starting" in shown(read_status(store))


def test_a_silent_driver_is_named(store, monkeypatch):
    monkeypatch.setattr("study.store.status.time.sleep", lambda seconds: None)
    beat(store, age_s=90, **REPORT)
    text = shown(read_status(store))
    assert "last reported 1 min 3" in text
    assert "If it is dead, run the study again" in text
    assert "running cell" not in text


def test_a_damaged_file_is_named(store, tmp_path):
    name = sorted((tmp_path / "abc" / "trials").iterdir())[0]
    name.write_bytes(b"PAR1")
    assert f"trials/{name.name} cannot be read" in shown(read_status(store))


def test_watching_ends_when_no_driver_runs_it(store, capsys):
    show_status(store.storage, "abc", watch=True)
    assert "abc: 8 trials: " in capsys.readouterr().out


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no study xyz in .*: run one: study run --grid table1"):
        show_status(str(tmp_path), "xyz", watch=False)


def test_the_study_that_may_have_been_meant_is_named(store):
    with pytest.raises(StoreError, match=r"no study abd in .*: did you mean abc\?"):
        show_status(store.storage, "abd", watch=False)


def test_a_run_that_starts_is_no_unknown_study(tmp_path):
    store = Store(str(tmp_path), "new")
    store.folder.make()
    beat(store)
    assert "new: 0 trials: none\nRun by process 42 on node7" in shown(read_status(store))


@pytest.mark.parametrize("behind_s", [2 * 86400, -2 * 86400])
def test_a_driver_whose_clock_is_days_off_is_alive_while_it_beats(store, monkeypatch, behind_s):
    beat(store, behind_s, **REPORT)
    monkeypatch.setattr("study.store.status.time.sleep", lambda seconds: beat(store, behind_s, **REPORT | {"beats": 2}))
    assert "Run by process 42 on node7" in shown(read_status(store))
    monkeypatch.setattr("study.store.status.time.sleep", lambda seconds: None)
    assert re.search(r"last reported 28(79|80) min \d\d s ago\. If it is dead", shown(read_status(store)))


def test_a_study_that_is_removed_while_others_are_listed_is_left_out(store, tmp_path, monkeypatch):
    monkeypatch.setattr("study.store.status.study_names", lambda storage: ["abc", "gone"])
    assert [study["study"] for study in count_trials(str(tmp_path))] == ["abc"]


def test_a_part_that_a_run_replaces_while_it_is_read_is_no_damage(store, tmp_path, monkeypatch):
    read, done = Parts.read, []

    def read_late(parts, kind, name, *others, **how):
        # As a run does: what was pruned is trained to its end, and its part goes.
        if name.endswith("-pruned.parquet") and not done:
            done.append(name)
            cell = load_grid("smoke").cells()[1]
            store.write(build_result([record(seed, 3, "completed") for seed in (0, 1)], cell))
        return read(parts, kind, name, *others, **how)

    monkeypatch.setattr(Parts, "read", read_late)
    status = read_status(store)
    assert (status.trials, status.unreadable) == ({"finished": 4, "pruned": 0, "failed": 2}, {})


def test_a_report_looks_again_for_a_part_that_was_replaced(store, monkeypatch):
    listed, done = load._list_parts, []

    def list_early(filesystem, folder):
        found = listed(filesystem, folder)
        if not done:
            done.append(found)
            cell = load_grid("smoke").cells()[1]
            store.write(build_result([record(seed, 3, "completed") for seed in (0, 1)], cell))
        return found

    monkeypatch.setattr(load, "_list_parts", list_early)
    data = load.load_study(store.storage, "abc")
    assert data.unreadable == {}
    assert data.trials["status"].value_counts().to_dict() == {"completed": 4, "failed": 2}
