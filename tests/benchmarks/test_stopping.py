import pandas as pd
import pytest

from benchmarks.stopping import Complete, Run, audit_table, bias, largest_loss, replay, surviving_seeds
from study.grid.grid import Grid

pytestmark = pytest.mark.long
# One stratum of three weights, five epochs, rungs at epochs 2 and 4.
GRID = Grid.model_validate(
    {
        "name": "small",
        "description": "Of the tests.",
        "factors": {"aux_weight": {"role": "tuned", "values": [0, 1, 10]}},
        "protocol": {"max_epochs": 5},
        "stopping": {"grace_period": 2, "protect": [{"aux_weight": 0}]},
    }
)
CELLS = GRID.cells()


def run(cell, accuracy, seeds=2, name=None):
    epochs = range(1, 6)
    return Run(name or cell.cell_id, cell, dict.fromkeys(epochs, accuracy), dict.fromkeys(epochs, seeds))


def test_a_worse_cell_is_pruned_at_the_first_rung():
    _, good, bad = CELLS
    trained, pruned = replay(GRID, [run(good, 0.9), run(bad, 0.5, seeds=3)], workers=1)
    assert pruned == {bad.cell_id: 2}
    assert trained == 5 * 2 + 2 * 3


def test_the_first_of_a_stratum_has_no_rival_yet():
    _, good, bad = CELLS
    trained, pruned = replay(GRID, [run(bad, 0.5), run(good, 0.9)], workers=1)
    assert (trained, pruned) == (20, {})


def test_with_two_workers_the_stack_of_fewer_seeds_reports_first():
    _, good, bad = CELLS
    assert replay(GRID, [run(bad, 0.5, seeds=4), run(good, 0.9, seeds=1)])[1] == {bad.cell_id: 2}
    assert replay(GRID, [run(bad, 0.5, seeds=1), run(good, 0.9, seeds=4)])[1] == {}


def test_protected_cells_are_neither_pruned_nor_a_bar():
    protected, good, bad = CELLS
    assert replay(GRID, [run(good, 0.9), run(protected, 0.1)], workers=1)[1] == {}
    assert replay(GRID, [run(protected, 0.9), run(bad, 0.1)], workers=1)[1] == {}


def complete(accuracies):
    """A study of two seeds whose validation accuracies are given, test accuracies a tenth below."""
    validation = pd.DataFrame({cell.cell_id: values for cell, values in zip(CELLS, accuracies, strict=True)}).T
    return Complete(
        cells=CELLS,
        cell_runs={c.cell_id: run(c, validation.loc[c.cell_id].mean()) for c in CELLS},
        seed_runs={
            (c.cell_id, seed): run(c, validation.loc[c.cell_id, seed], 1, f"{c.cell_id}/{seed}")
            for c in CELLS
            for seed in (0, 1)
        },
        validation=validation,
        test=validation - 0.1,
    )


def test_pruning_single_seeds_leaves_the_lucky_ones():
    study = complete([(0.1, 0.1), (0.8, 0.6), (0.9, 0.7)])
    share, alive = surviving_seeds(GRID, study, list(study.seed_runs))
    # Two workers, side by side. The protected seeds take no part. Of weight 1 both seeds are at the rung at once, 0.8
    # first, so that 0.6 falls; then 0.9 and 0.7 come, and 0.7 is below the median of 0.6, 0.8 and 0.9.
    assert alive.loc[CELLS[1].cell_id].tolist() == [True, False]
    assert alive.loc[CELLS[2].cell_id].tolist() == [True, False]
    assert CELLS[0].cell_id not in alive.index
    assert share == (4 * 5 + 2 * 2) / 30
    assert bias(study.test, alive).tolist() == pytest.approx([0.1, 0.1])


def test_no_bias_where_all_survive_and_none_known_where_none_does():
    study = complete([(0.1, 0.1), (0.8, 0.6), (0.9, 0.7)])
    alive = pd.DataFrame([[True, True], [False, False]], index=[cell.cell_id for cell in CELLS[1:]])
    first, second = bias(study.validation, alive)
    assert first == 0
    assert second != second


def test_the_audit_tells_when_the_best_cell_was_lost():
    lost = complete([(0.1, 0.1), (0.8, 0.8), (0.7, 0.9)])
    lost.cell_runs[CELLS[2].cell_id] = run(CELLS[2], 0.5)  # slow at first: its curve is below, its end is as good
    lost.validation.loc[CELLS[2].cell_id] = [0.9, 0.9]
    lost.test.loc[CELLS[2].cell_id] = [0.65, 0.65]  # chosen by validation, it would have lost on test
    table = audit_table(GRID, lost)
    cells = [next(iter(column.cells)) for column in table.columns]
    # Without a scientific factor there is one stratum, which has no name.
    assert cells == ["", "3", "aux_weight 10 at 2", "no", "10.00", "-5.00"]
    assert table.caption == "24 of 30 epochs trained, 20.0 % saved; 1 cells pruned"


def test_largest_loss_is_in_points_and_leaves_weight_0_out():
    accuracy = pd.Series([0.99, 0.8, 0.9], [cell.cell_id for cell in CELLS])
    assert largest_loss(GRID, CELLS, accuracy, {CELLS[2].cell_id: 2}) == pytest.approx(10)
    assert largest_loss(GRID, CELLS, accuracy, {CELLS[0].cell_id: 2}) == 0
