import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from study.cli.studies import render_status, show_status
from study.grid.load import load_grid
from study.plan.jobs import study_info
from study.store.files import StoreError
from study.store.heartbeat import DRIVER_JSON
from study.store.status import read_status
from study.store.store import Store
from tests.study.conftest import record


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


def test_a_silent_driver_is_named(store):
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
