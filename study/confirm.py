"""``study confirm``: the cells that selection chose, trained again with seeds that no study has."""

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from analysis.confirmation import confirmation_sheet
from analysis.load import CONFIRMATION, StudyData, companions, load_study, no_cell
from analysis.selection import chosen_cells, fixed_contrasts
from analysis.sheets import sheet_rich
from study.commands import INTERRUPTED, Work, train
from study.grid import MAX_SEEDS, Grid, GridError
from study.gridparts import Factor
from study.info import config_of
from study.planning import study_info
from study.storage import StoreError
from study.store import Store

if TYPE_CHECKING:  # Ray takes seconds to import; only a run needs it
    from study.resources import Resources


def confirmation_of(data: StudyData, storage: str, seeds: int) -> Work:
    """Return what the confirmation of a study has to train: its chosen cells, unpruned, with ``seeds`` fresh seeds.

    They count from MAX_SEEDS, where the seeds of studies end, so that they never overlap with any that the study has
    or will have. Raises GridError for an impossible number of seeds, StoreError for a study that cannot be confirmed.
    """
    if not 2 <= seeds <= MAX_SEEDS:
        raise GridError(f"--seeds {seeds}: expected 2 to {MAX_SEEDS:,}")
    if confirmed := data.info.get("confirms"):
        raise StoreError(f"the study {data.name} is itself the confirmation of {confirmed}; confirm that one")
    ids = chosen_cells(data)
    chosen = {cell["cell_id"]: config_of(cell) for cell in data.info["cells"] if cell["cell_id"] in ids}
    if not chosen:
        raise StoreError(f"the study {data.name} has no complete cell to confirm; run it to the end first")
    for cell_id, cell in chosen.items():
        if cell.cell_id != cell_id:
            raise StoreError(f"cell {cell_id} of {data.name} has the id {cell.cell_id} now; run the study again first")
    roles = data.info["roles"]
    grid = Grid(
        name=data.info["grid"],
        description=f"The chosen cells of {data.name}, with fresh seeds.",
        factors={name: Factor(role=role) for name, role in roles.items()},
        cells=[{name: getattr(cell, name) for name in roles} for cell in chosen.values()],
        protocol=data.info["protocol"],
    )
    store, fresh = Store(storage, data.name + CONFIRMATION), range(MAX_SEEDS, MAX_SEEDS + seeds)
    cells = list(chosen.values())
    info = study_info(store.study, grid, cells, fresh, store.read_info())
    changes = {"confirms": data.name, "contrasts": fixed_contrasts(data)}
    return Work(grid, cells, fresh, "none", store, info | changes)


def run_confirmation(
    storage: str, name: str, seeds: int, resources: "Resources", console: Console, command: str
) -> int:
    """Train what the confirmation lacks and show it beside the study; return the exit code of ``run_study``."""
    data = load_study(storage, name, no_cell)
    work = confirmation_of(data, storage, seeds)
    why = "the best by validation, and those of contrasts" if "tuned" in work.grid.roles.values() else "none is tuned"
    console.print(f"{name}: {len(work.cells)} of {len(data.info['cells'])} cells to confirm ({why})", soft_wrap=True)
    code = train(work, resources, console, command)
    if code == INTERRUPTED:
        return code
    confirmation = companions(storage, data).get("confirmation")
    if confirmation is not None:
        console.print(sheet_rich(confirmation_sheet(data, confirmation, np.random.default_rng(0))))
    console.print(f"Next: study analyze {name} --storage {storage}", soft_wrap=True)
    return code
