"""Real runs on an S3 server: rows, checkpoints and the driver's beat, while the server is well, slow or away."""

import re
import time

import pandas as pd
import pytest

from study.grid.load import load_grid
from study.store.files import Folder
from study.store.heartbeat import Heartbeat
from study.store.store import Store
from tests.conftest import started_ray
from tests.study.driver.test_runs import assert_rows_are_as_trained_directly, study, wait_for_line, write_grid

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def address(s3_server):
    """A Ray of two cores whose workers find the server."""
    with started_ray(2) as cluster:
        yield cluster.address


@pytest.fixture
def grid(tmp_path):
    """Three cells with two checkpoints on the way, at epochs 10 and 20."""
    return write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": [0, 1, 10]}}, max_epochs=24)


def assert_undisturbed(s3, grid):
    store = Store(s3, "own")
    rows, unreadable = store.read_trials()
    assert unreadable == {}
    assert_rows_are_as_trained_directly(
        pd.DataFrame(rows), store.read_epochs().to_pandas(), load_grid(grid).cells(), range(2)
    )


def test_a_run_on_s3(s3, grid, address, s3_server, tmp_path):
    run = study("run", "--grid", grid, "--storage", s3, address=address)
    assert run.returncode == 0, run.stdout + run.stderr
    assert_undisturbed(s3, grid)
    again = study("run", "--grid", grid, "--storage", s3, address=address)
    assert "nothing to train" in again.stdout
    keys = [key for key in s3_server.backend.buckets["lab"].keys if not key.endswith("/")]
    left = {key.split("/own/")[1].split("/")[0] for key in keys if key.startswith(s3.removeprefix("s3://lab/"))}
    assert left == {"study.json", "trials", "epochs"}  # neither checkpoints nor beats stay behind
    assert re.search(r"own +own +3 +6 +0 +0 +0", study("list", "--storage", s3).stdout)
    assert "6 trials: 6 finished" in study("status", "own", "--storage", s3).stdout
    analysis = study("analyze", "own", "--storage", s3, "--out", tmp_path / "report", "--format", "md")
    assert analysis.returncode == 0, analysis.stderr


def wait_for_epoch(s3, epoch):
    folder, deadline = Folder(s3, "own"), time.monotonic() + 120
    while all(cell["epoch"] < epoch for cell in (Heartbeat.read(folder) or {}).get("running", [])):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.faults
def test_a_server_that_is_slow_or_refuses_for_a_while(s3, grid, address, s3_server, start):
    process = start("run", "--grid", grid, "--storage", s3, address=address)
    wait_for_line(process, "cells to train")
    s3_server.delay_s = 0.5
    wait_for_epoch(s3, 5)
    s3_server.delay_s = 0.0
    s3_server.stop()
    time.sleep(12)
    s3_server.start()
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert_undisturbed(s3, grid)


@pytest.mark.faults
def test_a_server_that_stays_away_ends_the_run_in_a_line(s3, grid, address, s3_server, start):
    process = start("run", "--grid", grid, "--storage", s3, address=address)
    wait_for_line(process, "1 of 3 cells done")
    s3_server.stop()
    try:
        text = process.communicate(timeout=200)[0]
    finally:
        s3_server.start()
    assert process.returncode == 2, text
    assert re.search(r"study: cannot (read|write to) the storage s3://lab/.*--storage", text)
    assert "Traceback" not in text
    kept = len(Store(s3, "own").read_trials()[0])
    assert 2 <= kept < 6
    again = study("run", "--grid", grid, "--storage", s3, address=address)
    assert again.returncode == 0, again.stdout + again.stderr
    assert_undisturbed(s3, grid)
