"""What a user asks for, and the work that follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.stored import StudyInfo
from study.grid.grid import MAX_SEEDS, Grid, GridError
from study.grid.load import load_grid
from study.store.store import Store
from trainables.config import CellSettings

if TYPE_CHECKING:
    from study.plan.search import Search


@dataclass(frozen=True)
class Request:
    """What the user asks for; None stands for the grid's own choice."""

    grid: str
    storage: str
    name: str | None = None
    seeds: int | None = None
    scheduler: str | None = None
    data: str | None = None
    trackers: tuple[str, ...] = ()

    @property
    def study(self) -> str:
        """The study's name."""
        return self.resolve()[-1].study

    def resolve(self) -> tuple[Grid, list[CellSettings], range, str, Store]:
        """Return the grid, its cells, the seeds, the scheduler and the study's store; raise for what is not valid."""
        grid = load_grid(self.grid)
        if self.seeds is not None and not 1 <= self.seeds <= MAX_SEEDS:
            raise GridError(f"--seeds {self.seeds}: expected 1 to {MAX_SEEDS:,}")
        cells = grid.cells(self.data)
        data = getattr(cells[0], "data", None)
        name = self.name or (grid.name if data in (None, "mnist5k") else f"{grid.name}-{data}")
        scheduler = self.scheduler or grid.stopping.scheduler
        store = Store(self.storage, name)
        if grid.search:
            from study.plan.search import searched_cells

            cells = searched_cells(grid, cells, store.read_info())
        return grid, cells, range(self.seeds or grid.seeds), scheduler, store


@dataclass(frozen=True)
class Work:
    """What a run is to leave in the store: all seeds of all cells; ``info`` is the study.json to write."""

    grid: Grid
    cells: Sequence[CellSettings]
    seeds: Sequence[int]
    scheduler: str
    store: Store
    info: StudyInfo
    trackers: tuple[str, ...] = ()


def search_of(
    grid: Grid, cells: Sequence[CellSettings], seeds: Sequence[int], rows: Sequence[dict[str, Any]]
) -> "Search | None":
    """Return the search of a grid that has one."""
    if grid.search is None:
        return None
    from study.plan.search import Search

    return Search(grid, seeds, cells, rows)
