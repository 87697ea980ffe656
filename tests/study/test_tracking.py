"""A real run with all trackers, their logs read back and held against the store; and what is refused."""

import importlib.util
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tensorboardX.proto.event_pb2 import Event

import study
from study.resources import LaunchError
from study.tracking import Tracking, folder_for
from trainables.config import CellConfig

STUDY = str(Path(sys.executable).with_name("study"))
MLFLOW = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
(experiment,) = [e for e in client.search_experiments() if e.name == "own"]
print(json.dumps({
    run.info.run_name: [
        run.info.status, run.data.params["aux_weight"],
        {m.step: m.value for m in client.get_metric_history(run.info.run_id, "val_accuracy")},
    ]
    for run in client.search_runs([experiment.experiment_id])
}))
"""


@pytest.fixture
def tracked(tmp_path):
    """The folder where a run of two cells in one pack, two seeds and two epochs, was followed by all three trackers."""
    grid = {"name": "own", "description": "Of a test.", "seeds": 2, "protocol": {"max_epochs": 2}}
    grid |= {"factors": {"aux_weight": {"role": "tuned", "values": [0, 10]}}, "stopping": {"scheduler": "none"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(grid))
    trackers = [argument for tracker in ("tensorboard", "mlflow", "wandb") for argument in ("--track", tracker)]
    names = {"RAY_ADDRESS", "STUDY_STORAGE"}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command = [STUDY, "run", "--grid", "own.yaml", "--cells-per-trial", "2", *trackers]
    run = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "tracking by" not in run.stdout + run.stderr
    return tmp_path


def events(path):
    """Yield the events of a TensorBoard file: records of a length, its checksum, the event and its checksum."""
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def check_tensorboard(tracked, curves):
    found = {}
    for path in (tracked / "tracking" / "own" / "tensorboard").rglob("events.*"):
        scalars = found.setdefault(path.parent.name, {})
        for event in events(path):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    assert found.keys() == curves.keys()
    for cell_id, scalars in found.items():
        assert scalars.keys() == {"ray/tune/val_accuracy", "ray/tune/epoch"}
        assert scalars["ray/tune/val_accuracy"] == pytest.approx(curves[cell_id])


def check_mlflow(tracked, curves):
    uri = (tracked / "tracking" / "own" / "mlflow").as_uri()
    environment = os.environ | {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", MLFLOW, uri]
    read = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    runs = json.loads(read.stdout)
    assert {name: {int(step): value for step, value in curve.items()} for name, (_, _, curve) in runs.items()} == {
        cell_id: pytest.approx(curve) for cell_id, curve in curves.items()
    }
    assert sorted((status, float(weight)) for status, weight, _ in runs.values()) == [("FINISHED", 0), ("FINISHED", 10)]


def check_wandb(tracked, curves):
    files = list((tracked / "tracking" / "own" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    for cell_id, curve in curves.items():
        (content,) = [path.read_bytes() for path in files if cell_id in path.name]
        assert content.count(b"val_accuracy") >= 2
        for value in curve.values():
            assert json.dumps(value).encode() in content


@pytest.mark.xdist_group("ray")
def test_each_tracker_has_the_curves_of_the_store(tracked):
    """One test, so that the run is made once, however tests are spread over processes."""
    epochs = study.load("own", tracked / "studies").epochs
    means = epochs.groupby(["cell_id", "epoch"])["val_accuracy"].mean()
    assert len(means) == 4
    curves = {cell_id: means[cell_id].to_dict() for cell_id in means.index.levels[0]}
    check_tensorboard(tracked, curves)
    check_mlflow(tracked, curves)
    check_wandb(tracked, curves)


def test_what_cannot_be_followed_is_refused(monkeypatch):
    with pytest.raises(LaunchError, match="--track neptune: expected one of tensorboard, mlflow, wandb"):
        folder_for("own", ["neptune"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LaunchError, match="--track mlflow: not installed; install it: pip install mlflow-skinny"):
        folder_for("own", ["mlflow"])


class Full:
    """A logger whose disk is full from the second call on."""

    def __init__(self):
        self.calls = 0

    def __getattr__(self, name):
        def call(*arguments):
            self.calls += 1
            if self.calls > 1:
                raise OSError(28, "No space left on device")

        return call


def test_a_tracker_that_fails_does_not_stop_the_study(tmp_path):
    logger = Full()
    tracking = Tracking({"mlflow": logger}, tmp_path, "now")
    tracking.cell_started(CellConfig(), 2)
    tracking.cell_advanced(CellConfig().cell_id, 1, 0.5)
    tracking.cell_ended(CellConfig().cell_id, failed=False)
    tracking.close()
    assert logger.calls == 2
    expected = "OSError: [Errno 28] No space left on device; the study goes on without"
    assert tracking.errors == {"tracking by mlflow": expected}
