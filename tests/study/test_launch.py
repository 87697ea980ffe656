import os
from types import SimpleNamespace

import pytest
import torch
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayTaskError

from study.launch import LaunchError, Resources, _reason, resources_for

CORES = len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(("gpus_here", "share"), [(0, 0), (2, 0.25)])
def test_a_gpu_is_shared_where_there_is_one(monkeypatch, gpus_here, share):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus_here)
    assert resources_for(1, None, None, None) == Resources(1, share, None, None)
    assert resources_for(1, None, None, None).device == ("cuda" if gpus_here else "cpu")


@pytest.mark.parametrize(
    ("cpus", "gpus", "message"),
    [
        (1, 1, "--gpus-per-trial 1: this machine has 0 GPUs; .*--address"),
        (1, 0.5, "--gpus-per-trial 0.5: this machine has 0 GPUs"),
        (CORES + 1, 0, f"--cpus-per-trial {CORES + 1}: this machine has {CORES} CPUs"),
        (0, 0, "--cpus-per-trial 0: expected at least 1"),
        (1, -1, "--gpus-per-trial -1: expected 0, a fraction below 1, or a whole number"),
        (1, 1.5, "--gpus-per-trial 1.5: expected 0, a fraction below 1, or a whole number"),
    ],
)
def test_what_this_machine_cannot_give_is_refused(monkeypatch, cpus, gpus, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(LaunchError, match=message):
        resources_for(cpus, gpus, None, None)


def test_a_cluster_may_have_more_than_this_machine(monkeypatch):
    assert resources_for(64, 4, "auto", None) == Resources(64, 4, "auto", None)
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert resources_for(64, 4, None, None).address == "192.0.2.1:6379"


def test_the_data_folder_is_absolute_since_workers_run_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert resources_for(1, 0, None, "mnist").data_dir == str(tmp_path / "mnist")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RayTaskError("train", "trace\nback", ValueError("bad\nvalue")).as_instanceof_cause(), "ValueError: bad"),
        (ActorDiedError(), "ActorDiedError: The actor died unexpectedly before finishing this task."),
    ],
)
def test_the_reason_of_a_failure_is_one_line(tmp_path, error, reason):
    path = tmp_path / "error.pkl"
    path.write_bytes(cloudpickle.dumps(error))
    assert _reason(SimpleNamespace(pickled_error_file=str(path))) == reason


def test_the_reason_of_a_failure_without_an_exception_is_the_last_line_of_its_text(tmp_path):
    path = tmp_path / "error.txt"
    path.write_text("Failure # 1\nTuneError: first\nFailure # 2\nTuneError: second\n")
    assert _reason(SimpleNamespace(pickled_error_file=None, error_file=str(path))) == "TuneError: second"
