import os
from dataclasses import replace

import pytest
import torch

from study.grid.load import load_grid
from study.plan.jobs import plan_job
from study.plan.resources import Resources, check_per_seed, packs_that_fit, placed, resources_for
from study.plan.run_options import LaunchError, TrainingOptions
from tests.study.driver.function_models import Settings, train
from trainables.digits.settings import CellConfig

CORES = len(os.sched_getaffinity(0))


def given(cpus, each_gpus, gpus=0, **options):
    """Resources of a pack that gets so many cores and GPUs, of ``gpus`` in all."""
    return Resources(TrainingOptions(cpus_per_trial=cpus, gpus_per_trial=each_gpus, **options), gpus)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(("gpus_here", "share"), [(0, 0), (2, 0.25)])
def test_a_gpu_is_shared_where_there_is_one(monkeypatch, gpus_here, share):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus_here)
    asked = resources_for(TrainingOptions(cells_per_trial="1"))
    resources, _ = placed(asked, [{"CPU": 8.0, "GPU": float(gpus_here)}])
    assert resources == Resources(TrainingOptions(gpus_per_trial=share, cells_per_trial="1"), gpus=gpus_here)
    assert resources.device == ("cuda" if gpus_here else "cpu")


@pytest.mark.parametrize(("cells", "share"), [("auto", 1), ("1", 0.25), ("2", 0.5), ("9", 1)])
def test_a_pack_of_many_cells_has_a_gpu_to_itself(cells, share):
    asked = resources_for(TrainingOptions(address="auto", cells_per_trial=cells))
    assert placed(asked, [WITH_GPUS])[0].options.gpus_per_trial == share


@pytest.mark.parametrize("cells", ["0", "-1", "two", "1.5", ""])
def test_cells_that_make_no_pack_are_refused(cells):
    with pytest.raises(LaunchError, match=f"--cells-per-trial {cells}: expected auto, or 1 to 99,999"):
        resources_for(TrainingOptions(gpus_per_trial=0, cells_per_trial=cells))


def test_a_pack_is_one_cell_on_cpus_and_fills_gpus():
    jobs = [plan_job(load_grid("smoke"), CellConfig(aux_weight=weight), range(10)) for weight in range(40)]
    assert given(1, 0).cells_in_a_pack(jobs) == 1
    assert given(1, 0, cells_per_trial="3").cells_in_a_pack(jobs) == 3
    assert given(1, 1, gpus=1).cells_in_a_pack(jobs) == 32  # 320 trainings at most
    assert given(1, 1, gpus=3).cells_in_a_pack(jobs) == 14
    assert given(1, 0.25, gpus=4).cells_in_a_pack(jobs) == 3  # 16 packs at once
    assert given(1, 2, gpus=1).cells_in_a_pack(jobs) == 32  # the GPUs are still to come


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
        resources_for(TrainingOptions(cpus_per_trial=cpus, gpus_per_trial=gpus))


def test_a_cluster_may_have_more_than_this_machine(monkeypatch):
    asked = TrainingOptions(cpus_per_trial=64, gpus_per_trial=4)
    assert resources_for(replace(asked, address="auto")) == given(64, 4, address="auto")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert resources_for(asked).options.address == "192.0.2.1:6379"


def test_the_data_folder_is_absolute_since_workers_run_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert resources_for(TrainingOptions(data_dir="mnist")).options.data_dir == str(tmp_path / "mnist")


CPU_ONLY, WITH_GPUS = {"CPU": 8.0, "memory": 1e9}, {"CPU": 48.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("asked", "nodes", "gpus", "room"),
    [
        (None, [CPU_ONLY], 0, True),
        (None, [CPU_ONLY, WITH_GPUS], 1, True),
        (2, [CPU_ONLY], 2, False),  # nodes with GPUs may still join
        (0, [CPU_ONLY, WITH_GPUS], 0, True),
        (None, [{}], 0, False),  # a head that trains nothing
        (1, [{"CPU": 1.0}, {"GPU": 1.0}], 1, False),  # the core and the GPU are on different nodes
    ],
)
def test_what_a_cluster_has_settles_what_was_left_open(asked, nodes, gpus, room):
    resources = resources_for(TrainingOptions(gpus_per_trial=asked, address="auto"))
    assert resources.options.gpus_per_trial == asked
    all_gpus = sum(node.get("GPU", 0) for node in nodes)
    assert placed(resources, nodes) == (given(1, gpus, all_gpus, address="auto"), room)


def test_cores_of_a_cell_are_on_one_node():
    assert placed(given(8, 0, address="auto"), [CPU_ONLY])[1]
    assert not placed(given(9, 0, address="auto"), [CPU_ONLY, CPU_ONLY])[1]


PER_SEED = [Settings(model=f"{train.__module__}:train", max_epochs=epochs) for epochs in (1, 2)]


def test_each_seed_of_a_function_may_have_its_own_place():
    asked = Resources(TrainingOptions(gpus_per_seed=0.5, address="auto"))
    assert (asked.per_seed, asked.needs) == ({"CPU": 1, "GPU": 0.5},) * 2
    resources, room = placed(asked, [WITH_GPUS])
    assert (resources.device, resources.options.gpus_per_trial, room) == ("cuda", 0, True)
    assert resources.cells_in_a_pack([]) == 1
    nodes = [{"CPU": 8, "GPU": 2}] * 3  # four seeds on each
    assert [packs_that_fit(resources, nodes, seeds) for seeds in (1, 5, 20)] == [12, 2, 1]
    on_cpus = Resources(TrainingOptions(cpus_per_seed=2, gpus_per_trial=0))
    assert (on_cpus.needs, on_cpus.device) == ({"CPU": 2}, "cpu")


def test_only_functions_have_seeds_with_their_own_place_and_only_where_all_have_room(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    asked = Resources(TrainingOptions(cpus_per_seed=2))
    check_per_seed(asked, PER_SEED, seeds=2)
    with pytest.raises(
        LaunchError, match=r"--cpus-per-seed: this machine has room for 2 seeds .*, and a cell has 3; ask"
    ):
        check_per_seed(asked, PER_SEED, seeds=3)
    check_per_seed(Resources(TrainingOptions(cpus_per_seed=2, address="auto")), PER_SEED, seeds=3)
    with pytest.raises(LaunchError, match="--gpus-per-seed: the seeds of comparator train as one stack; leave it out"):
        check_per_seed(Resources(TrainingOptions(gpus_per_seed=1)), [*PER_SEED, CellConfig()], seeds=1)
    check_per_seed(Resources(TrainingOptions()), [CellConfig()], seeds=100)
