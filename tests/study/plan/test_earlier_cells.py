from study.grid.load import load_grid
from study.plan.earlier_cells import early_stopping
from study.plan.jobs import plan_job
from study.plan.run_options import Work
from study.store.store import Store
from tests.study.conftest import made_info, record


def test_cells_that_have_ended_are_remembered_by_their_mean_curves(tmp_path, make_result):
    grid = load_grid("smoke")
    first, second, third, fourth = grid.cells()
    store = Store(str(tmp_path), "made")
    store.write_info(made_info())
    for cell, status in ((first, "completed"), (second, "failed"), (third, "completed")):
        records = []
        for seed, accuracy in ((0, 0.25), (1, 0.75)):
            records += [record(seed, 1, val_accuracy=accuracy), record(seed, 2, status, val_accuracy=accuracy / 2)]
        store.write(make_result(records, cell))
    # The third cell has ended, but gets more seeds now; the fourth has never begun.
    jobs = [plan_job(grid, third, (2,), whole=False), plan_job(grid, fourth, (0, 1))]
    stopping = early_stopping(Work(grid, grid.cells(), (0, 1), "asha", store, made_info(), again=None), jobs)
    assert (stopping.grace_period, stopping.reduction_factor) == (
        grid.stopping.grace_period,
        grid.stopping.reduction_factor,
    )
    ((job, curve),) = stopping.ended
    assert (job.cell, curve) == (first, {1: 0.5, 2: 0.25})
    assert (job.stratum, job.protected) == (grid.stratum(first), grid.protects(first))
