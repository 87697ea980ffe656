"""What the tests of several folders use."""

import os
from contextlib import contextmanager

import pytest

from study.cli.app import main


@contextmanager
def started_ray(cores):
    """Start a Ray whose head has so many cores, and shut down what was started."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="session")
def cluster():
    """A Ray of two cores for all tests of a worker that need one: it takes seconds to start.

    The groups of pytest-xdist keep these tests together: "ray" for runs, "pages" for docs, examples and benchmarks.
    """
    with started_ray(2) as started:
        yield started


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "STUDY_STORAGE", "STUDY_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["study", *arguments])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run
