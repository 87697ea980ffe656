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
from wandb.proto.wandb_internal_pb2 import Record

import study
from study.driver.tracking import ENVIRONMENT, Tracking, WandbRuns, folder_for
from study.plan.jobs import Job
from study.plan.run_options import LaunchError, RunOptions
from trainables.digits.settings import CellConfig

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
def tracked(tmp_path, trackers, cluster):
    """The folder where a run of two cells in one pack, two seeds and two epochs, was followed by all three trackers."""
    grid = {"name": "own", "description": "Of a test.", "seeds": 2, "protocol": {"max_epochs": 2}}
    grid |= {"factors": {"aux_weight": {"role": "tuned", "values": [0, 10]}}, "stopping": {"scheduler": "none"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(grid))
    asked = [argument for tracker in ("tensorboard", "mlflow", "wandb") for argument in ("--track", tracker)]
    clean = {name: value for name, value in os.environ.items() if name != "STUDY_STORAGE"}
    clean |= {"RAY_ADDRESS": cluster.address}
    command = [STUDY, "run", "--grid", "own.yaml", "--cells-per-trial", "2", *asked]
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


def wandb_runs(folder):
    """Return what each offline file below a folder holds, by the run's name: config, rows by epoch, and exit code."""
    found = {}
    for path in folder.glob("wandb/offline-run-*/run-*.wandb"):
        config, rows, exit_code = {}, {}, None
        for record in wandb_records(path):
            if record.HasField("run"):
                name = record.run.display_name
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("history"):
                row = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                rows[row["epoch"]] = row["val_accuracy"]
            if record.HasField("exit"):
                exit_code = record.exit.exit_code
        assert name not in found
        found[name] = config, rows, exit_code
    return found


def wandb_records(path):
    """Yield the records of a file of up to 32 KiB: 7 bytes of header, and for each a checksum, length, 1 and itself."""
    content = path.read_bytes()[7:]
    while content:
        length, kind = struct.unpack("<HB", content[4:7])
        assert kind == 1
        yield Record.FromString(content[7 : 7 + length])
        content = content[7 + length :]


def check_wandb(tracked, curves):
    runs = wandb_runs(tracked / "tracking" / "own")
    assert {name: rows for name, (_, rows, _) in runs.items()} == curves
    assert sorted((config["aux_weight"], config["seeds"], code) for config, _, code in runs.values()) == [
        (0, 2, 0),
        (10, 2, 0),
    ]


@pytest.mark.long
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
        RunOptions(grid="smoke", track=["neptune"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LaunchError, match="--track mlflow: not installed; install it: pip install mlflow-skinny"):
        folder_for("own", ["mlflow"])


def job(cell):
    return Job(cell, (0, 1), whole=True, label="", stratum=(), protected=False)


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
    tracking = Tracking({"mlflow": logger}, tmp_path, "now", "val_accuracy")
    tracking.cell_started(job(CellConfig()))
    tracking.cell_advanced(CellConfig().cell_id, 1, 0.5)
    tracking.cell_ended(CellConfig().cell_id, "finished", [])
    tracking.close()
    assert logger.calls == 2
    expected = "OSError: [Errno 28] No space left on device; the study continues without it"
    assert tracking.errors == {"tracking by mlflow": expected}


@pytest.mark.long
def test_wandb_has_written_all_when_a_run_is_closed(tmp_path, monkeypatch, trackers):
    """Of cells that ended a moment ago, and of one that an interruption has left open."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    cells = [CellConfig(aux_weight=weight) for weight in range(4)]
    (tmp_path / "own").mkdir()
    tracking = Tracking({"wandb": WandbRuns(tmp_path / "own")}, tmp_path / "own", "now", "val_accuracy")
    for cell in cells:
        tracking.cell_started(job(cell))
    for epoch in (1, 2):
        for cell in cells:
            tracking.cell_advanced(cell.cell_id, epoch, epoch / 4)
    for cell in cells[:3]:
        tracking.cell_ended(cell.cell_id, "finished", [])
    assert "WANDB_SERVICE" in os.environ
    tracking.close()
    assert tracking.errors == {}
    assert "WANDB_SERVICE" not in os.environ  # not only asked to write: it has ended
    runs = wandb_runs(tmp_path / "own")
    assert {name: (rows, code) for name, (_, rows, code) in runs.items()} == {
        cell.cell_id: ({1: 0.25, 2: 0.5}, code) for cell, code in zip(cells, [0, 0, 0, 1], strict=True)
    }
