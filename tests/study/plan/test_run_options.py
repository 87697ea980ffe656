"""Options check themselves; which study they name, and what is left of it, is in the tests of the commands too."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from study.grid.load import read_grid
from study.plan.run_options import LaunchError, RunOptions, TrainingOptions, flag_of
from study.store.files import StoreError
from tests.study.conftest import record


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": 0}, "--seeds 0: expected 1 to 1,000,000"),
        ({"seeds": 1_000_001}, "--seeds 1000001: expected 1 to 1,000,000"),
        ({"cpus_per_trial": 0.5}, "--cpus-per-trial 0.5: expected at least 1, a core for each cell"),
        ({"gpus_per_trial": -1}, "--gpus-per-trial -1: expected 0, a fraction below 1, or a whole number of GPUs"),
        ({"gpus_per_trial": 1.5}, "--gpus-per-trial 1.5: expected 0, a fraction below 1, or a whole number of GPUs"),
        ({"gpus_per_trial": float("inf")}, "--gpus-per-trial inf: expected 0, a fraction below 1, or a whole number"),
        ({"cpus_per_seed": 0.5}, "--cpus-per-seed 0.5: expected 1 to 100,000"),
        ({"gpus_per_seed": 0.0}, "--gpus-per-seed 0: expected a fraction below 1, or a whole number of GPUs"),
        ({"cells_per_trial": "two"}, "--cells-per-trial two: expected auto, or 1 to 99,999 cells"),
        ({"cells_per_trial": 0}, "--cells-per-trial 0: expected auto, or 1 to 99,999 cells"),
        ({"retries": -1}, "--retries -1: expected 0 to 1,000"),
        ({"epoch_limit": 0.0}, "--epoch-limit 0: expected seconds, more than 0"),
        ({"epoch_limit": float("nan")}, "--epoch-limit nan: expected seconds, more than 0"),
        ({"scheduler": "hyperband"}, "--scheduler hyperband: expected one of asha, none"),
        ({"track": ["neptune"]}, "--track neptune: expected one of tensorboard, mlflow, wandb"),
    ],
)
def test_what_an_option_does_not_take_is_told_in_a_line(given, message):
    with pytest.raises(LaunchError) as error:
        RunOptions(grid="smoke", **given)
    assert str(error.value).startswith(message)


def test_options_are_kept_as_the_command_line_gives_them():
    options = RunOptions(grid=Path("mine.yaml"), storage=Path("there"), cells_per_trial=4, track=["mlflow"])
    assert (options.grid, options.storage, options.cells_per_trial) == ("mine.yaml", "there", "4")
    assert options.track == ("mlflow",)
    assert options.data_dir is None
    assert RunOptions(grid="smoke", gpus_per_trial=2, seeds=1_000_000).gpus_per_trial == 2
    with pytest.raises(FrozenInstanceError):
        options.seeds = 3


def test_every_option_has_a_help_that_is_a_sentence():
    for each in fields(RunOptions):
        text = each.metadata["help"]
        assert text[0].isupper(), flag_of(each.name)
        assert text.endswith("."), flag_of(each.name)
    assert {each.name for each in fields(TrainingOptions)} < {each.name for each in fields(RunOptions)}


def test_what_options_leave_open_is_the_grids(tmp_path):
    work = RunOptions(grid="smoke", storage=tmp_path).resolve()
    assert (work.store.study, list(work.seeds), work.scheduler) == ("smoke", [0, 1], work.grid.stopping.scheduler)
    assert [cell["cell_id"] for cell in work.info.cells] == [cell.cell_id for cell in work.cells]
    asked = RunOptions(grid="smoke", storage=tmp_path, data="mnist", seeds=3, scheduler="none", track=["mlflow"])
    work = asked.resolve()
    assert (work.store.study, len(work.seeds), work.scheduler) == ("smoke-mnist", 3, "none")
    assert work.trackers == ("mlflow",)
    assert RunOptions(grid="smoke", storage=tmp_path, data="mnist5k").resolve().store.study == "smoke"
    assert RunOptions(grid="smoke", storage=tmp_path, data="mnist", name="mine").resolve().store.study == "mine"
    assert not list(tmp_path.iterdir()), "nothing is written before a run"


def test_cells_that_one_metric_has_stopped_are_not_chosen_by_another(tmp_path, make_result):
    work = RunOptions(grid="smoke", storage=tmp_path).resolve()
    work.store.write_info(work.info)
    (tmp_path / "other.yaml").write_text(read_grid("smoke")[1] + "objective: digit_accuracy\n")
    other = RunOptions(grid=tmp_path / "other.yaml", name="smoke", storage=tmp_path)
    assert other.resolve().info.objective == "digit_accuracy"
    work.store.write(make_result([record(0, 1), record(1, 1)], work.cells[0]))
    with pytest.raises(StoreError, match="cells of smoke were stopped early by accuracy, so they cannot be"):
        other.resolve()
