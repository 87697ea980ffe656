"""Machines that die or come late, and drivers that are killed: nothing stored is lost, or trained otherwise."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
from ray.cluster_utils import Cluster

from study.grid.load import load_grid
from tests.conftest import started_ray
from tests.study.driver.test_runs import (
    LONG,
    WEIGHTS,
    assert_store_is_as_trained_directly,
    wait_for_line,
    write_grid,
)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def nodes():
    """A head that trains nothing, and a way to add machines of one core."""
    with started_ray(0) as started:
        yield started


@pytest.fixture
def grid(tmp_path):
    """Six cells of some five seconds each on a core, more where it is shared, with checkpoints on the way."""
    return write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": WEIGHTS}}, **LONG)


def run_of(grid, tmp_path):
    return ["run", "--grid", grid, "--storage", str(tmp_path)]


def assert_undisturbed(process, text, grid, tmp_path):
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert_store_is_as_trained_directly(tmp_path / "own", load_grid(grid).cells(), range(2))
    assert set(pd.read_parquet(tmp_path / "own" / "trials")["status"]) <= {"completed", "converged"}


def wait_for_checkpoints(tmp_path, cells):
    """Wait until so many cells have a checkpoint: each node of one core then trains one."""
    deadline = time.monotonic() + 120
    while len({path.parent for path in (tmp_path / "own" / "scratch" / "tune").glob("*/checkpoint_*")}) < cells:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_node_killed_in_mid_cell(tmp_path, nodes, grid, start):
    victim = nodes.add_node(num_cpus=1)
    nodes.add_node(num_cpus=1)
    process = start(*run_of(grid, tmp_path), address=nodes.address)
    wait_for_checkpoints(tmp_path, 2)
    nodes.remove_node(victim, allow_graceful=False)
    text = process.communicate(timeout=300)[0]
    assert_undisturbed(process, text, grid, tmp_path)
    assert text.count("it continues from its last checkpoint") == 1


def test_two_of_three_nodes_killed_and_one_that_joins_late(tmp_path, nodes, grid, start):
    victims = [nodes.add_node(num_cpus=1) for _ in range(2)]
    nodes.add_node(num_cpus=1)
    process = start(*run_of(grid, tmp_path), address=nodes.address)
    wait_for_checkpoints(tmp_path, 3)
    for victim in victims:
        nodes.remove_node(victim, allow_graceful=False)
    wait_for_line(process, "1 of 6 cells done")
    nodes.add_node(num_cpus=1)
    assert_undisturbed(process, process.communicate(timeout=400)[0], grid, tmp_path)


def test_cells_wait_for_a_first_node(tmp_path, nodes, start):
    grid = write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": [1, 10]}}, max_epochs=3)
    process = start(*run_of(grid, tmp_path), address=nodes.address)
    time.sleep(8)
    assert process.poll() is None
    nodes.add_node(num_cpus=1)
    assert_undisturbed(process, process.communicate(timeout=200)[0], grid, tmp_path)


def test_a_driver_killed_at_twenty_random_moments(tmp_path, nodes, grid, start):
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    # The short ones come first: a run that is done cannot be killed any more.
    moments = np.sort(np.random.default_rng(0).uniform(1, 12, 20))
    killed = 0
    for moment in moments:
        process = start(*run_of(grid, tmp_path), address=nodes.address)
        time.sleep(moment)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate(timeout=60)
    final = start(*run_of(grid, tmp_path), address=nodes.address)
    assert_undisturbed(final, final.communicate(timeout=400)[0], grid, tmp_path)
    assert killed >= 10


def test_a_head_lost_and_restarted(tmp_path, grid, start):
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    arguments = {"num_cpus": 2, "include_dashboard": False}
    first = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        process = start(*run_of(grid, tmp_path), address=first.address)
        wait_for_line(process, "2 of 6 cells done")
    finally:
        first.shutdown()
    process.communicate(timeout=300)
    assert process.returncode != 0
    rows = pd.read_parquet(tmp_path / "own" / "trials")
    kept = int((rows["status"] != "failed").sum())  # a cell that lost its worker as the head went may be failed
    assert 4 <= kept < 12
    second = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        again = start(*run_of(grid, tmp_path), address=second.address)
        text = again.communicate(timeout=400)[0]
        assert f"{12 - kept} trials of {6 - kept // 2} cells to train" in text
        assert_undisturbed(again, text, grid, tmp_path)
    finally:
        ray.shutdown()
        second.shutdown()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 40 MB, and what takes nearly all of it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    (disk / "ballast").write_bytes(bytes((40 << 20) - (40 << 10)))
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(tmp_path, small_disk, nodes, grid, start):
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    process = start(*run_of(grid, small_disk), address=nodes.address)
    text = process.communicate(timeout=400)[0]
    assert process.returncode == 2, text
    assert f"study: cannot write to the storage {small_disk}" in text
    assert "No space left on device" in text
    assert "Traceback" not in text
    for path in small_disk.rglob("*.parquet"):
        pd.read_parquet(path)  # what is there is whole
    Path(small_disk / "ballast").unlink()
    again = start(*run_of(grid, small_disk), address=nodes.address)
    assert_undisturbed(again, again.communicate(timeout=400)[0], grid, small_disk)


def test_a_disk_that_is_full_for_a_while(small_disk, nodes, grid, start):
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    (small_disk / "ballast").rename(small_disk / "less")
    os.truncate(small_disk / "less", 10 << 20)
    process = start(*run_of(grid, small_disk), address=nodes.address)
    wait_for_line(process, "1 of 6 cells done")
    with (small_disk / "less").open("ab") as ballast:
        room = os.statvfs(small_disk)
        ballast.write(bytes(room.f_bavail * room.f_frsize - 4096))
    time.sleep(12)
    (small_disk / "less").unlink()
    assert_undisturbed(process, process.communicate(timeout=400)[0], grid, small_disk)


def test_cells_killed_for_memory(tmp_path, monkeypatch, grid, start):
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")  # whatever the workers take is too much
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with started_ray(2) as cluster:
        process = start(*run_of(grid, tmp_path), "--retries", "1", address=cluster.address)
        text = process.communicate(timeout=400)[0]
    assert process.returncode == 1, text
    assert "Traceback" not in text
    rows = pd.read_parquet(tmp_path / "own" / "trials")
    assert set(rows["status"]) == {"failed"}
    assert len(rows) == 12
    assert all("low on memory" in error for error in rows["error"]), set(rows["error"])
