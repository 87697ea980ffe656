"""``study confirm``: the cells that selection chose, trained again with fresh seeds."""

from dataclasses import replace
from functools import partial

from analysis.load import StudyData
from analysis.statistics.selection import chosen_cells, fixed_contrasts
from analysis.stored import CONFIRMATION
from study.grid import MAX_SEEDS
from study.grid.grid import Grid, GridError
from study.plan.jobs import study_info
from study.plan.run_options import Work
from study.store.files import StoreError
from study.store.store import Store
from study.store.study_json import check_trained, config_of
from trainables.config import TrainingSettings


def confirmation_of(data: StudyData, storage: str, seeds: int) -> Work:
    """Return what a confirmation trains; raise GridError for ``seeds``, or StoreError."""
    if not 2 <= seeds <= MAX_SEEDS:
        raise GridError(f"--seeds {seeds}: expected 2 to {MAX_SEEDS:,}")
    check_trained(data.info)
    if confirmed := data.info.confirms:
        raise StoreError(f"the study {data.name} is itself the confirmation of {confirmed}; confirm that one")
    if not (cells := _chosen(data)):
        raise StoreError(f"the study {data.name} has no complete cell to confirm; run it to the end first")
    # No grid file is made on the way: it has no place for None or a list.
    grid = Grid.of_study(data.info, f"The chosen cells of {data.name}, with fresh seeds.", cells)
    # Seeds of studies end at MAX_SEEDS: none has or will have these. No cell is stopped early.
    store, fresh = Store(storage, data.name + CONFIRMATION), range(MAX_SEEDS, MAX_SEEDS + seeds)
    info = study_info(store.study, grid, cells, fresh, store.read_info())
    again = partial(confirmation_of, data, storage, seeds)
    # The contrasts keep the cells that selection chose for them: to choose again would be to look twice.
    info = replace(info, confirms=data.name, contrasts=tuple(fixed_contrasts(data)))
    return Work(grid, cells, fresh, "none", store, info, again)


def _chosen(data: StudyData) -> list[TrainingSettings]:
    """Return the chosen cells; raise StoreError for one that would be another cell now."""
    ids = chosen_cells(data)
    cells = []
    for stored in data.info.cells:
        if (cell_id := stored["cell_id"]) in ids:
            cells.append(cell := config_of(stored))
            if cell.cell_id != cell_id:
                now = f"has the id {cell.cell_id} now; run the study again first"
                raise StoreError(f"cell {cell_id} of {data.name} {now}")
    return cells
