"""The confirmation of a made study; a real one, with Ray, is in test_runs.py."""

import pytest

from analysis.load import load_study
from study.grid import MAX_SEEDS
from study.grid.grid import GridError
from study.grid.load import load_grid
from study.plan.confirmation import confirmation_of
from study.plan.jobs import study_info
from study.store.files import StoreError
from study.store.store import Store
from tests.analysis.conftest import with_info
from tests.study.conftest import record


def run_made_study(tmp_path, make_result, accuracy, name="full"):
    """Store a result of two seeds for each cell of ``full`` for which ``accuracy`` returns a validation accuracy."""
    grid, store = load_grid("full"), Store(str(tmp_path), name)
    cells, seeds = grid.cells(), (0, 1)
    store.write_info(study_info(name, grid, cells, seeds, None))
    for cell in cells:
        if (value := accuracy(cell)) is not None:
            records = [record(seed, 80, "completed", val_accuracy=value) for seed in seeds]
            store.write(make_result(records, cell))
    return cells


def test_chosen_cells_get_fresh_seeds_and_no_scheduler(tmp_path, make_result):
    cells = run_made_study(tmp_path, make_result, lambda cell: 0.9 if cell.aux_weight == 3 else 0.8)
    work = confirmation_of(load_study(str(tmp_path), "full"), str(tmp_path), 20)
    # The winner of each of four strata and the classifier; the five cells of the contrasts besides.
    chosen = {(c.model, c.sharing, c.aux_weight, c.dropout) for c in work.cells}
    winners = {("comparator", sharing, 3, dropout) for sharing in (False, True) for dropout in (0, 0.5)}
    contrasted = {
        ("comparator", False, 0, 0),
        ("comparator", True, 0, 0),
        ("comparator", False, 10, 0),
        ("comparator", True, 10, 0),
        ("comparator", True, 1, 0.5),
    }
    assert chosen == winners | contrasted | {("classifier", True, 0, 0)}
    assert {cell.cell_id for cell in work.cells} <= {cell.cell_id for cell in cells}
    assert (work.store.study, work.scheduler, work.info.confirms) == ("full-confirm", "none", "full")
    assert list(work.seeds) == list(range(MAX_SEEDS, MAX_SEEDS + 20))
    assert work.info.seeds == tuple(work.seeds)
    assert work.info.roles == load_grid("full").roles


def test_contrasts_stay_with_the_cells_they_were_selected_for(tmp_path, make_result):
    run_made_study(tmp_path, make_result, lambda cell: 0.8)
    data = load_study(str(tmp_path), "full")
    work = confirmation_of(data, str(tmp_path), 2)
    ids = {(c["model"], c["sharing"], c["aux_weight"], c["dropout"]): c["cell_id"] for c in data.info.cells}
    assert work.info.contrasts[0] == {
        "name": "sharing alone",
        "plus": [{"cell_id": ids["comparator", True, 0, 0]}],
        "minus": [{"cell_id": ids["comparator", False, 0, 0]}],
    }


@pytest.mark.parametrize("seeds", [0, 1, MAX_SEEDS + 1])
def test_an_impossible_number_of_seeds_is_refused(tmp_path, make_result, seeds):
    run_made_study(tmp_path, make_result, lambda cell: 0.8)
    with pytest.raises(GridError, match=f"--seeds {seeds}: expected 2 to 1,000,000"):
        confirmation_of(load_study(str(tmp_path), "full"), str(tmp_path), seeds)


def test_a_confirmation_is_not_confirmed(tmp_path, make_result):
    run_made_study(tmp_path, make_result, lambda cell: 0.8)
    data = load_study(str(tmp_path), "full")
    data = with_info(data, confirms="full")
    with pytest.raises(StoreError, match="the study full is itself the confirmation of full; confirm that one"):
        confirmation_of(data, str(tmp_path), 2)


def test_a_study_without_a_complete_cell_cannot_be_confirmed(tmp_path, make_result):
    run_made_study(tmp_path, make_result, lambda cell: 0.8)
    data = load_study(str(tmp_path), "full")
    data = with_info(data, seeds=[0, 1, 2])
    with pytest.raises(StoreError, match="the study full has no complete cell to confirm; run it to the end first"):
        confirmation_of(data, str(tmp_path), 2)


def test_a_cell_that_this_program_would_train_otherwise_is_refused(tmp_path, make_result):
    run_made_study(tmp_path, make_result, lambda cell: 0.8)
    data = load_study(str(tmp_path), "full")
    for cell in data.info.cells:
        cell["batch_size"] = 50
    with pytest.raises(StoreError, match=r"cell \w{12} of full has the id \w{12} now"):
        confirmation_of(data, str(tmp_path), 2)
