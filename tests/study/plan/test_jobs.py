from dataclasses import replace

import pytest

from analysis.stored import StoredMetric
from study.grid.load import load_grid
from study.plan import jobs
from study.plan.jobs import study_info
from study.plan.run_options import Work
from study.store.files import StoreError

GRID = load_grid("smoke")
CELLS = GRID.cells()


def plan_run(grid, cells, seeds, rows, scheduler):
    info = study_info("smoke", grid, cells, seeds, None)
    return jobs.plan_run(Work(grid, cells, seeds, scheduler, store=None, info=info, again=None), rows)


def row(cell, seed, status="completed"):
    return {"cell_id": cell.cell_id, "trial_id": cell.trial_id(seed), "status": status}


def test_an_empty_store_leaves_all_to_train():
    plan = plan_run(GRID, CELLS, range(2), [], "none")
    assert [(job.cell, job.seeds, job.whole) for job in plan.jobs] == [(cell, (0, 1), True) for cell in CELLS]
    assert (plan.trials, dict(plan.settled)) == (8, {})


def test_only_what_is_missing_is_trained():
    first, second, third, _ = CELLS
    rows = [row(first, 0), row(first, 1, "converged"), row(second, 0), row(third, 1, "failed")]
    plan = plan_run(GRID, CELLS, range(2), rows, "none")
    assert [(job.cell, job.seeds, job.whole) for job in plan.jobs] == [
        (second, (1,), False),
        (third, (0, 1), True),
        (CELLS[3], (0, 1), True),
    ]
    assert dict(plan.settled) == {"completed": 2, "converged": 1}


def test_all_there_leaves_nothing():
    rows = [row(cell, seed) for cell in CELLS for seed in range(2)]
    assert plan_run(GRID, CELLS, range(2), rows, "asha").jobs == ()


def test_more_seeds_train_just_those():
    rows = [row(cell, seed) for cell in CELLS for seed in range(2)]
    assert [job.seeds for job in plan_run(GRID, CELLS, range(4), rows, "asha").jobs] == [(2, 3)] * 4


def test_fewer_seeds_need_nothing():
    rows = [row(cell, seed) for cell in CELLS for seed in range(2)]
    assert plan_run(GRID, CELLS, range(1), rows, "none").trials == 0


@pytest.mark.parametrize(("scheduler", "to_train"), [("asha", 6), ("none", 8)])
def test_pruned_cells_stay_pruned_unless_there_is_no_scheduler(scheduler, to_train):
    rows = [row(CELLS[0], seed, "pruned") for seed in range(2)]
    plan = plan_run(GRID, CELLS, range(2), rows, scheduler)
    assert plan.trials == to_train
    assert plan.settled.get("pruned", 0) == 8 - to_train


def test_new_seeds_of_a_pruned_cell_share_its_fate():
    rows = [row(CELLS[0], seed, "pruned") for seed in range(2)]
    plan = plan_run(GRID, CELLS[:1], range(4), rows, "asha")
    assert (plan.jobs, dict(plan.settled)) == ((), {"pruned": 4})


def test_info_of_a_new_study():
    info = study_info("smoke", GRID, CELLS, range(2), None)
    assert info.roles == {"sharing": "scientific", "aux_weight": "tuned"}
    assert [cell["cell_id"] for cell in info.cells] == [cell.cell_id for cell in CELLS]
    assert (info.seeds, info.protocol["max_epochs"], info.protocol["learning_rate"]) == ((0, 1), 3, 1e-3)
    assert not {"sharing", "aux_weight"} & info.protocol.keys()


def test_a_study_grows_by_cells_and_seeds():
    earlier = replace(study_info("smoke", GRID, CELLS[:2], range(3), None), runs=({"commit": "x"},))
    info = study_info("smoke", GRID, CELLS[1:], range(2), earlier)
    assert [cell["cell_id"] for cell in info.cells] == [cell.cell_id for cell in CELLS]
    assert (info.seeds, info.runs) == ((0, 1, 2), ({"commit": "x"},))


def test_another_protocol_under_the_same_name_is_refused():
    earlier = study_info("smoke", GRID, CELLS, range(2), None)
    with pytest.raises(StoreError, match=r"smoke was run with data mnist5k, now it is mnist: .*--name"):
        study_info("smoke", GRID, GRID.cells("mnist"), range(2), earlier)


RMSE = StoredMetric("rmse", "min")


@pytest.mark.parametrize(
    ("metrics", "objective", "message"),
    [
        (
            (StoredMetric("accuracy", "min", "%", 100.0),),
            "accuracy",
            "the metric accuracy differs in made and the grid",
        ),
        (
            (StoredMetric("accuracy"),),
            "accuracy",
            r"\(max, unit '', scale 1 and max, unit '%', scale 100\): give the new",
        ),
        ((RMSE,), "rmse", "the trials of made have no accuracy, now the objective; set objective: rmse in the grid"),
    ],
)
def test_a_metric_that_has_become_another_is_refused(metrics, objective, message):
    earlier = replace(study_info("made", GRID, CELLS, range(2), None), metrics=metrics, objective=objective)
    with pytest.raises(StoreError, match=message):
        study_info("made", GRID, CELLS, range(2), earlier)


def test_metrics_of_before_stay_and_the_objective_is_the_later_grids():
    earlier = study_info("made", GRID, CELLS, range(2), None)
    earlier = replace(earlier, metrics=(*earlier.metrics, RMSE), objective="rmse")
    joined = study_info("made", GRID, CELLS, range(2), earlier)
    assert [metric.name for metric in joined.metrics][-1] == "rmse"
    assert joined.objective == "accuracy"
