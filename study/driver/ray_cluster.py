"""Ray on this machine, or a cluster that a run joins: starting, joining, counting nodes."""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

import trainables
from study.console import is_verbose
from study.driver.tracking import ENVIRONMENT
from study.plan.resources import Resources, placed
from study.plan.run_options import LaunchError
from study.store.heartbeat import BEAT_S
from trainables.registry import package_of

# The path of a Unix socket has 107 bytes at most, and Ray adds 68 of its own.
LONGEST_TMPDIR = 39


def live_nodes() -> list[dict[str, float]]:
    """Return what each node that is alive has, by Ray's names of the resources."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


class NodeCount(tune.Callback):
    """How many nodes are alive; counted in Tune's loop, as a thread may outlive Ray."""

    def __init__(self) -> None:
        self.nodes, self._counted_at = len(live_nodes()), time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Count again, as often as the heartbeat reports it."""
        if time.monotonic() - self._counted_at > BEAT_S:
            self.nodes, self._counted_at = len(live_nodes()), time.monotonic()


@contextmanager
def connect(resources: Resources, models: Iterable[str] = ()) -> Iterator[tuple[Resources, bool]]:
    """Start Ray on this machine, or join a cluster; leave it at the end.

    Gives the resources with what depends on the cluster, and whether a node has room for a pack
    now. The code of ``trainables`` and of the user's models is sent to the workers of a cluster,
    so that they run what is here. Raises LaunchError if the cluster cannot be reached.
    """
    os.environ.update(ENVIRONMENT, RAY_USAGE_STATS_ENABLED="0")
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the old output heeds verbose=0
    # As many as for Tune's own grid search; for other searchers the default is 1.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "200")
    # This will be Ray's default; set here, it silences a warning.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = resources.options.address
    how: dict[str, Any] = {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    if address:
        _check_reachable(address)
        packages = {str(Path(trainables.__file__).parent), *map(package_of, models)}
        how = {"runtime_env": {"py_modules": sorted(packages)}}
    level = logging.INFO if is_verbose() else logging.ERROR
    try:
        context = ray.init(address or "local", log_to_driver=is_verbose(), logging_level=level, **how)
    except Exception as error:  # Ray raises a plain Exception too, if a process of its own does not answer in time
        if not address:
            raise LaunchError(f"Ray does not start on this machine: {_first_line(error)}; {_way_out()}") from error
        raise LaunchError(f"cannot reach a Ray cluster at {address}: {_first_line(error)}") from error
    # They report a lost worker or storage by tracebacks; our own lines say it shorter.
    for name in () if is_verbose() else ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with context:
        yield placed(resources, live_nodes())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _way_out() -> str:
    """Say what a user can do if Ray does not start here."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(folder)) > LONGEST_TMPDIR:
        return f"the path of its folder, {folder}, is too long: set RAY_TMPDIR to a short one, such as /tmp"
    for name, needed in (("RAY_TMPDIR", folder), ("HOME", str(Path("~").expanduser()))):
        if not os.access(needed, os.W_OK):
            return f"it cannot write to {needed}: set {name} to the short path of a folder that you can write"
    return "this machine may be busy, or its disk full: try again, and see Ray's own messages with --verbose"


def _check_reachable(address: str) -> None:
    """Refuse a host:port on which nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:  # "auto" and the like, which Ray resolves
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise LaunchError(
            f"cannot reach a Ray cluster at {address}: {error}; expected host:port of a running head; to use "
            "only this machine, leave out --address and RAY_ADDRESS"
        ) from None
