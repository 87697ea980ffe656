"""What the tests of several folders use."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from study.cli.app import main
from study.console import set_level

WITHOUT_TRACKERS = str(Path(__file__).parent / "data" / "without_trackers")


@pytest.fixture(scope="session", autouse=True)
def _lean_programs():
    """Let programs that tests start be quick: they find neither MLflow nor wandb, and Ray's workers do not stand back.

    Ray imports both, where they are, in every run, to count its callbacks: that is 4 of a run's 10 seconds of CPU time.
    At their usual niceness of 15, workers wait for all that another pytest process does.
    """
    found = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, [found, WITHOUT_TRACKERS])))
        environment.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture
def trackers(monkeypatch):
    """Let programs that the test starts find MLflow and wandb."""
    found = os.environ["PYTHONPATH"].split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folder for folder in found if folder != WITHOUT_TRACKERS))


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


@pytest.fixture(scope="session")
def one_core():
    """A Ray of one core for tests whose cells need not train at once: a second worker costs each run seconds."""
    with started_ray(1) as started:
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
        set_level(quiet=False, verbose=False)  # as in a new process
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run
