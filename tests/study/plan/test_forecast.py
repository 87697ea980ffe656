import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from study.grid.load import load_grid
from study.plan.forecast import Machines, Rate, duration_s, forecast, machines_for, measured_rate
from study.plan.jobs import plan_job
from study.plan.resources import Resources, packs_that_fit
from study.plan.run_options import LaunchError, TrainingOptions
from trainables.digits.settings import CellConfig


def given(cpus, gpus, **options):
    """What a pack gets: so many cores and GPUs."""
    return Resources(TrainingOptions(cpus_per_trial=cpus, gpus_per_trial=gpus, **options))


def job(seeds):
    return plan_job(load_grid("smoke"), CellConfig(), range(seeds))


@pytest.mark.parametrize(
    ("machines", "cpus", "gpus", "slots"),
    [
        (Machines(1, 2, 0), 1, 0, 2),
        (Machines(4, 48, 4), 1, 0.25, 64),  # 16 by GPU, 48 by core
        (Machines(4, 8, 4), 1, 0.25, 32),  # the cores run out first
        (Machines(3, 7, 0), 2, 0, 9),  # what is left of a machine joins nothing
    ],
)
def test_packs_at_once(machines, cpus, gpus, slots):
    assert packs_that_fit(given(cpus, gpus), machines.amounts) == slots


def test_machines_default_to_this_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    machines, resources = machines_for(1, None, None, None, TrainingOptions())
    assert machines == Machines(1, len(os.sched_getaffinity(0)), 2)
    assert (resources.options.gpus_per_trial, resources.gpus) == (1, 2)
    assert machines_for(1, None, None, None, TrainingOptions(cells_per_trial="1"))[1].options.gpus_per_trial == 0.25
    assert machines_for(8, 64, 0, 2.5, TrainingOptions(cpus_per_trial=2)) == (
        Machines(8, 64, 0, 2.5),
        given(2, 0, address="of these machines"),
    )
    assert machines_for(3, 64, 4, 2.5, TrainingOptions(cpus_per_trial=2, gpus_per_trial=1))[1].gpus == 12


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((0, 2, 0, None, 1, None), "--nodes 0: expected 1 to 100,000"),
        ((1, 0, 0, None, 1, None), "--cpus 0: expected 1 to 100,000"),
        ((1, 2, -1, None, 1, None), "--gpus -1: expected 0 to 100,000"),
        ((1, 2, 0, -0.5, 1, None), "--price -0.5: expected 0 to 100,000"),
        ((1, 2, 0, None, 4, None), "a cell of 4 cores and 0 GPUs has no room on a machine of 2 cores and 0 GPUs"),
        ((1, 2, 0, None, 1, 1), "a cell of 1 cores and 1 GPUs has no room"),
    ],
)
def test_machines_that_cannot_be(asked, message):
    *machines, cpus, gpus = asked
    options = TrainingOptions(cpus_per_trial=cpus, gpus_per_trial=gpus)
    with pytest.raises(LaunchError, match=message):
        machines_for(*machines, options)


def row(cell, seconds, device="cpu", status="completed"):
    began = datetime(2026, 1, 1, microsecond=ord(cell[0]), tzinfo=UTC)  # the cells of a pack begin together
    ended = began + timedelta(seconds=seconds)
    return {"cell_id": cell, "status": status, "device": device, "started_at": began, "finished_at": ended}


def test_rate_is_of_the_finished_cells_of_a_device():
    rows = [row("a1", 20)] * 5 + [row("a2", 11)] * 5 + [row("b", 60)] * 10 + [row("c", 8)] * 2
    rows += [row("d", 900, status="pruned"), row("e", 900, status="failed"), row("f", 1, device="cuda")]
    # 88 s for 22 trainings; the slowest are b's, 6 s each
    assert measured_rate("own", rows, "cpu") == Rate(4.0, 6.0, "the 22 trainings of own on cpu")
    assert measured_rate("own", rows, "cuda") == Rate(1.0, 1.0, "the 1 trainings of own on cuda")
    assert measured_rate("own", rows[-3:-1], "cpu") is None


def test_duration_lies_between_the_bounds_of_list_scheduling():
    rate = Rate(2.0, 3.0, "")
    assert duration_s([], 4, rate) == (0, 0)
    assert duration_s([(job(4), job(6))] * 6, 1, rate) == (120, 120)
    # 120 s of work over 4 slots is 30 s, as long as the slowest cell; at worst that one starts last
    assert duration_s([(job(4), job(6))] * 6, 4, rate) == (30, 30 + 0.75 * 30)
    # a slot for each cell: the slowest one
    assert duration_s([(job(4), job(6))] * 6, 6, rate) == duration_s([(job(4), job(6))] * 6, 12, rate) == (30, 30)


@pytest.mark.parametrize(("name", "known"), [("table1", True), ("protocol", True), ("beyond", False)])
def test_the_shipped_rate_is_for_the_reports_networks_and_epochs_alone(name, known):
    grid = load_grid(name)
    jobs = [plan_job(grid, cell, (0, 1)) for cell in grid.cells()]
    ahead = forecast(name, jobs, [], Machines(1, 2, 0), given(1, 0))
    assert (ahead.rate is not None, ahead.time_s is not None) == (known, known)
    rows = [row("a", 20)] * 5
    assert forecast(name, jobs, rows, Machines(1, 2, 0), given(1, 0)).rate == Rate(
        4, 4, f"the 5 trainings of {name} on cpu"
    )


@pytest.mark.parametrize(("name", "rate"), [("smoke", 0.102), ("full", 0.025)])  # two seeds, and 320 trainings
def test_a_gpu_has_a_rate_for_small_stacks_and_one_for_large_ones(name, rate):
    grid = load_grid(name)
    jobs = [plan_job(grid, cell, tuple(range(grid.seeds))) for cell in grid.cells()]
    ahead = forecast(name, jobs, [], Machines(1, 2, 1), given(1, 1))
    assert ahead.rate.mean_s == rate


def test_a_plan_lists_two_hundred_cells_and_counts_the_others(study):
    values = ", ".join(map(str, range(250)))
    Path("many.yaml").write_text(
        f"name: many\ndescription: Many.\nseeds: 2\nfactors:\n  aux_weight: {{role: tuned, values: [{values}]}}\n"
    )
    code, said, _ = study("plan", "--grid", "many.yaml")
    lines = said.splitlines()
    assert code == 0
    assert lines[201].startswith("and 50 more cells; --json has all")
    assert "many: 250 cells x 2 seeds = 500 trials; in the store: none; 500 trials of 250 cells to train" in lines[202]
    assert len(json.loads(study("plan", "--grid", "many.yaml", "--json")[1])["cells"]) == 250


def test_four_cells_of_a_search_share_a_gpu(study):
    said = study("plan", "--grid", "search", "--cpus", "8", "--gpus", "1")[1]
    assert "on 1 x 8 cores and 1 GPUs: 4 cells at once, each with 1 cores and 0.25 GPUs" in said
