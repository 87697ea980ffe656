"""The Tune adapter: as an object in this process, and under a real Ray."""

import itertools
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import ray
import torch
from pyarrow.fs import LocalFileSystem
from pydantic import ValidationError
from ray import tune

from tests.trainables.functions import functions
from trainables.registry import start_training
from trainables.tune_cell import PackTrainable, StorageNotSharedError, Verdicts

pytestmark = [
    pytest.mark.xdist_group("ray"),
    # Ray leaves sockets and log files to the garbage collector, which may find them during any test.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SEEDS = [4, 0]
REST = {
    "device": "cpu",
    "threads": 1,
    "data_dir": None,
    "epoch_limit_s": 600,
    "marker": None,
    "verdicts": None,
    "per_seed": None,
    "objective": "val_accuracy",
}


def config_of(*cells, seeds=SEEDS):
    return {"cells": [{"cell": cell.model_dump(), "seeds": list(seeds)} for cell in cells]} | REST


def timeless(results):
    """A cell's results as (epoch, objective, records), the records without the time they took, NaN as None."""

    def plain(record):
        figures = {name: None if value != value else value for name, value in record["figures"].items()}
        return record | {"figures": figures, "train_time_s": 0}

    reports = [report for result in results for report in result.get("cells", [result])]
    return [
        (report["epoch"], report["objective"], [plain(record) for record in report["records"]]) for report in reports
    ]


def direct(cell, pool, seeds=SEEDS):
    """The timeless results that a training of this cell should have, from the training itself."""
    results, last = [], {}
    for epoch, records in enumerate(start_training({cell: seeds}, pool), start=1):
        last |= {record.seed: record.figure("val_accuracy") for record in records}
        plain = [asdict(record) for record in records]
        results.append({"epoch": epoch, "objective": sum(last.values()) / len(last), "records": plain})
    return timeless(results)


@pytest.fixture
def cells(small_cell):
    return [small_cell(sharing=True, aux_weight=1, dropout=0.5, max_epochs=4), small_cell(max_epochs=3)]


# As an object


@pytest.fixture
def trainable(tmp_path, monkeypatch):
    """Make trainables that keep their log folders out of the user's home."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "logs"))
    made = []

    def make(*cells, seeds=SEEDS, **more):
        made.append(PackTrainable(config=config_of(*cells, seeds=seeds) | more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def train_to_the_end(trainable):
    results = [trainable.train()]
    while not results[-1]["done"]:
        results.append(trainable.train())
    return results


def test_a_node_that_does_not_see_the_storage_trains_nothing(trainable, cells, tmp_path):
    one = trainable(cells[0], marker=(LocalFileSystem(), str(tmp_path / "shared")))
    with pytest.raises(StorageNotSharedError, match=f"the node {socket.gethostname()} does not see .*shared"):
        one.train()
    (tmp_path / "shared").touch()
    one.train()
    (tmp_path / "shared").unlink()  # it is asked for once
    assert one.train()["epoch"] == 2


def test_its_results_are_those_of_the_training(trainable, cells, pool):
    results = train_to_the_end(trainable(cells[0]))
    assert timeless(results) == direct(cells[0], pool)
    assert [result["done"] for result in results] == [False, False, False, True]
    assert [result["training_iteration"] for result in results] == [1, 2, 3, 4]


def test_a_seed_that_has_ended_counts_with_its_last_value(trainable, small_cell, pool):
    cell = small_cell(learning_rate=2.0**-6, plateau_patience=0, stop_patience=2, max_epochs=12)
    results = train_to_the_end(trainable(cell, seeds=[4, 0, 11]))
    assert timeless(results) == direct(cell, pool, [4, 0, 11])
    sizes = [len(result["cells"][0]["records"]) for result in results]
    assert 0 < sizes[-1] < sizes[0] == 3  # else nothing is tested here


@pytest.mark.parametrize("after", [1, 3])
def test_restoring_a_checkpoint_gives_the_bits_of_never_stopping(after, trainable, cells, pool, tmp_path):
    one = trainable(cells[0])
    for _ in range(after):
        one.train()
    saved = one.save(str(tmp_path / "checkpoint"))
    other = trainable(cells[0])
    other.restore(saved)
    assert timeless(train_to_the_end(other)) == direct(cells[0], pool)[after:]
    one.restore(saved)  # an object that went on and is set back does the same
    one.train()
    one.restore(saved)
    assert timeless(train_to_the_end(one)) == direct(cells[0], pool)[after:]


def test_restoring_knows_the_seeds_that_have_ended(trainable, small_cell, pool, tmp_path):
    cell = small_cell(learning_rate=2.0**-6, plateau_patience=0, stop_patience=2, max_epochs=12)
    expected = direct(cell, pool, [4, 0, 11])
    after = next(epoch for epoch, _, records in expected if len(records) < 3)  # one has ended before this epoch
    assert after < len(expected)
    one = trainable(cell, seeds=[4, 0, 11])
    for _ in range(after):
        one.train()
    other = trainable(cell, seeds=[4, 0, 11])
    other.restore(one.save(str(tmp_path / "checkpoint")))
    assert timeless(train_to_the_end(other)) == expected[after:]


def test_after_a_reset_another_cell_trains_as_in_a_fresh_object(trainable, cells, small_cell, pool):
    reused = trainable(cells[0], seeds=[4, 0, 11])
    reused.train()
    for cell in (cells[1], cells[0]):
        assert reused.reset(config_of(cell))
        assert timeless(train_to_the_end(reused)) == direct(cell, pool)


@pytest.fixture
def pack(small_cell):
    return [small_cell(aux_weight=weight, dropout=dropout, max_epochs=4) for weight, dropout in ((0, 0), (1, 0.5))]


def by_cell(results):
    """Sort the reports of a pack's results by cell."""
    reports = [report for result in results for report in result["cells"]]
    return {
        cell_id: timeless([report for report in reports if report["cell_id"] == cell_id])
        for cell_id in dict.fromkeys(report["cell_id"] for report in reports)
    }


def pack_directly(pack, pool, pruned=()):
    """The reports by cell that a pack should have, from the training itself; ``pruned`` has (cell, epoch)."""
    training, reports = start_training(dict.fromkeys(pack, SEEDS), pool), {}
    while training.rows:
        for cell, epoch in pruned:
            if training.epoch == epoch:
                training.drop(cell.cell_id)
        for cell_id, records in itertools.groupby(next(training), lambda record: record.cell_id):
            records = list(records)
            plain = [asdict(record) for record in records]
            mean = sum(record.figure("val_accuracy") for record in records) / len(records)
            reports.setdefault(cell_id, []).append({"epoch": training.epoch, "objective": mean, "records": plain})
    return {cell_id: timeless(own) for cell_id, own in reports.items()}


def test_a_pack_reports_each_cell(trainable, pack, pool):
    results = train_to_the_end(trainable(*pack))
    assert by_cell(results) == pack_directly(pack, pool)
    assert [[report["ended"] for report in result["cells"]] for result in results] == [[False] * 2] * 3 + [[True] * 2]
    assert [result["done"] for result in results] == [False, False, False, True]


def function_cell(function, **settings):
    return functions.Settings(model=f"{functions.__name__}:{function.__name__}", **settings)


@pytest.fixture
def of_function(trainable, monkeypatch):
    """Make trainables of functions, which hide GPUs from the rest of their process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return lambda cell, seeds=(0, 3): trainable(cell, seeds=seeds, objective="val_rmse")


def test_seeds_of_a_function_that_end_at_different_epochs_have_one_mean(of_function):
    results = train_to_the_end(of_function(function_cell(functions.walk, max_epochs=4)))
    reports = [result["cells"][0] for result in results]
    assert [(report["epoch"], report["ended"]) for report in reports] == [(1, False), (2, False), (3, False), (4, True)]
    assert [len(report["records"]) for report in reports] == [2, 2, 2, 1]
    values = [[record["figures"]["val_rmse"] for record in report["records"]] for report in reports]
    means = [report["objective"] for report in reports]
    assert values[2][0] == values[1][0]  # seed 0 has ended, and says so by its last record
    assert means == [*(sum(pair) / 2 for pair in values[:3]), (values[1][0] + values[3][0]) / 2]


def test_a_function_goes_on_from_a_checkpoint_of_the_pack(of_function, tmp_path):
    cell = function_cell(functions.walk_by_checkpoint, max_epochs=6)
    whole = timeless(train_to_the_end(of_function(cell)))
    one = of_function(cell)
    for _ in range(3):
        one.train()
    other = of_function(cell)
    other.restore(one.save(str(tmp_path / "checkpoint")))
    found = timeless(train_to_the_end(other))
    # The functions had saved after epoch 2, so the first step has epochs 3 and 4.
    assert [(epoch, objective) for epoch, objective, _ in found] == [(epoch, mean) for epoch, mean, _ in whole[3:]]
    again = found[0][2]
    assert sorted(again, key=lambda record: record["epoch"]) == [*whole[2][2], *whole[3][2]]


def test_a_function_that_is_left_is_closed(of_function, cells, tmp_path):
    for end in ("reset", "stop"):
        (tmp_path / end).mkdir()
        one = of_function(function_cell(functions.holds_a_file_open, folder=str(tmp_path / end)))
        one.train()
        assert [path.read_text() for path in (tmp_path / end).iterdir()] == ["", ""]
        assert one.reset(config_of(cells[1])) if end == "reset" else one.stop() is None
        assert [path.read_text() for path in (tmp_path / end).iterdir()] == ["cleaned up"] * 2


class Malicious:
    """Pickles to something that makes a file when it is loaded."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


def plain_pickle(state, path):
    path.write_bytes(pickle.dumps(state, protocol=2))


@pytest.mark.parametrize("write", [torch.save, plain_pickle])
def test_a_checkpoint_that_would_run_code_is_refused(write, trainable, cells, tmp_path):
    one, trap = trainable(cells[0]), tmp_path / "trap"
    one.save(str(tmp_path / "checkpoint"))
    write({"training": Malicious(trap)}, tmp_path / "checkpoint" / "training.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        one.restore(str(tmp_path / "checkpoint"))
    assert not trap.exists()


def test_a_checkpoint_that_is_no_folder_is_refused(trainable, cells):
    with pytest.raises(TypeError, match="not dict"):
        trainable(cells[0]).load_checkpoint({"training": {}})


def test_a_wrong_setting_is_refused(trainable, cells):
    config = config_of(cells[0])
    config["cells"][0]["cell"]["dropout"] = 1.5
    with pytest.raises(ValidationError, match="dropout"):
        trainable(cells[0]).reset(config)


# Under Ray


@pytest.fixture(scope="module")
def _ray():
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        environment.setenv("RAY_AIR_NEW_OUTPUT", "0")  # the old output heeds verbose=0
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; silences its warning
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()


class Results(tune.Callback):
    """Collects every result by cell; can kill the worker of a cell, once, after a certain epoch."""

    def __init__(self, kill_after=None):
        self.by_cell, self.pids, self._kill_after = {}, {}, kill_after

    def on_trial_result(self, iteration, trials, trial, result, **info):
        key = str(trial.config["cells"][0]["cell"])
        self.by_cell.setdefault(key, []).append(result)
        self.pids.setdefault(key, []).append(result["pid"])
        if result["epoch"] == self._kill_after:
            self._kill_after = None
            os.kill(result["pid"], signal.SIGKILL)


def tuned(cells, folder, results, **run_settings):
    """Train the cells one after another, on both cores each, and return Tune's own summary."""
    configs = [config_of(cell) for cell in cells]
    return tune.Tuner(
        tune.with_resources(PackTrainable, {"cpu": 2}),
        param_space={**configs[0], "cells": tune.grid_search([config["cells"] for config in configs])},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            callbacks=[results],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2),
            **run_settings,
        ),
    ).fit()


@pytest.mark.usefixtures("_ray")
def test_under_tune_a_reused_actor_gives_the_results_of_the_training(cells, pool, tmp_path):
    results = Results()
    summary = tuned(cells, tmp_path, results)
    assert summary.num_errors == 0
    for cell in cells:
        assert timeless(results.by_cell[str(cell.model_dump())]) == direct(cell, pool)
    pids = {pid for pids in results.pids.values() for pid in pids}
    assert len(pids) == 1  # one process trained both cells
    assert pids != {os.getpid()}
    assert list(Path(tmp_path).rglob("training.pt"))


@pytest.mark.usefixtures("_ray")
def test_a_cell_whose_worker_is_killed_goes_on_with_the_same_bits(cells, pool, tmp_path):
    cell, results = cells[0], Results(kill_after=3)
    summary = tuned([cell], tmp_path, results, failure_config=tune.FailureConfig(max_failures=1))
    key, expected = str(cell.model_dump()), direct(cell, pool)
    assert summary.num_errors == 0
    assert len(set(results.pids[key])) == 2
    found = timeless(results.by_cell[key])
    assert [epoch for epoch, _, _ in found] == [1, 2, 3, 3, 4]  # from the checkpoint of epoch 2: epoch 3 comes twice
    assert found == [*expected[:3], *expected[2:]]


@pytest.fixture
def verdicts(_ray):
    """The actor's name and handle."""
    actor = ray.remote(Verdicts).options(name="verdicts", num_cpus=0).remote()
    yield "verdicts", actor
    ray.kill(actor)


@pytest.mark.parametrize("set_back_to", [None, 1, 3])
def test_a_pruned_cell_ends_at_its_epoch_even_where_the_pack_is_set_back(
    set_back_to, verdicts, trainable, pack, pool, tmp_path
):
    name, actor = verdicts
    one = trainable(*pack, verdicts=name)
    results = []
    for epoch in (1, 2, 3):
        results.append(one.train())
        if epoch == 2:
            ray.get(actor.prune.remote(pack[0].cell_id, 2))
        if epoch == set_back_to:
            saved = one.save(str(tmp_path / "checkpoint"))
    if set_back_to is not None:
        one = trainable(*pack, verdicts=name)
        one.restore(saved)
        results = results[:set_back_to]
    results += train_to_the_end(one)
    expected = pack_directly(pack, pool, pruned=[(pack[0], 2)])
    assert by_cell(results) == expected
    assert [len(reports) for reports in expected.values()] == [2, 4]


def test_an_epoch_beyond_its_limit_is_ended_with_the_reason(small_cell):
    trainable = PackTrainable(config_of(small_cell()) | {"epoch_limit_s": 0.001})
    with pytest.raises(TimeoutError, match=r"epoch 1 took longer than 0.001 s, the epoch limit"):
        trainable.step()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_an_epoch_that_hangs_where_no_signal_reaches_it_ends_its_process(tmp_path):
    script = """
import ctypes, faulthandler
from trainables.functions import time_limit
time_limit.GRACE_S = 0.2
with time_limit.time_limit(0.2, 1):
    libc = ctypes.PyDLL(None)  # holds Python's lock, so that no handler runs
    while True:
        libc.sleep(60)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode != 0
    assert "Timeout" in ended.stderr
