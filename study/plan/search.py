"""Which cell a search trains next: the cells it has and the store's rows of them are all that decides it.

Optuna is asked anew for every cell, with random numbers that depend on the search's seed and the cell's number alone.
So a search that was interrupted goes on as if it had not been. A sampler that lives through the run, as Ray's own
OptunaSearch has, would draw its first cells again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.statistics.search_summary import distribution
from analysis.stored import FINISHED, StudyInfo
from study.grid.grid import Grid
from study.plan.jobs import Job
from study.store.study_json import config_of
from trainables.config import CellSettings

TRIES = 500  # suggestions in a row that may all be cells that the study has
LEARNED_TRIES = 10  # those after so many are random, or they would go on to be the same

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What a cell came to: its mean validation accuracy at its last epoch; ``pruned`` if that was not its end."""

    accuracy: float
    epoch: int
    pruned: bool


def outcome_of(rows: Sequence[Row], seeds: int) -> Found | None:
    """Return what the rows of a cell say of it, or None where a seed has failed or is missing."""
    if len(rows) != seeds or any(row["status"] not in (*FINISHED, "pruned") for row in rows):
        return None
    # Rounded, since the same accuracies in another order may differ in the last bit of their mean.
    accuracy = round(float(np.mean([row["val_accuracy"] for row in rows])), 12)
    return Found(accuracy, max(row["epochs"] for row in rows), any(row["status"] == "pruned" for row in rows))


def trained_for(rows: Iterable[Row]) -> timedelta:
    """Return how long at least one of the cells was training; cells that trained at once count once."""
    spans = sorted({(row["started_at"], row["finished_at"]) for row in rows})
    total, until = timedelta(0), datetime.min.replace(tzinfo=spans[0][0].tzinfo) if spans else None
    for start, end in spans:
        if end > until:
            total += end - max(start, until)
            until = end
    return total


class Search:
    """The state of a search: ``cells`` in the order of their suggestion, and the rows that the store has of them."""

    def __init__(self, grid: Grid, seeds: Sequence[int], cells: Iterable[CellSettings], rows: Iterable[Row]) -> None:
        assert grid.search is not None
        self._grid, self._search, self._seeds = grid, grid.search, tuple(seeds)
        self._space = {
            name: distribution(given.model_dump(exclude_none=True)) for name, given in grid.search.ranges.items()
        }
        self.cells = list(cells)
        self._data = _data(self.cells[0])
        self._rows: dict[str, dict[str, Row]] = defaultdict(dict)  # by cell and trial
        self._in_flight: set[str] = set()
        self._has_suggested_all = False  # by budget or for want of a new cell
        self.learn(rows)

    def learn(self, rows: Iterable[Row]) -> None:
        """Take in the rows of cells that have ended."""
        for row in rows:
            if row["seed"] in self._seeds:
                self._rows[row["cell_id"]][row["trial_id"]] = row
                self._in_flight.discard(row["cell_id"])

    @property
    def is_over(self) -> bool:
        """Whether a run has nothing more to suggest and all that it handed out has ended."""
        return self._has_suggested_all and not self._in_flight

    @property
    def cells_left(self) -> int | None:
        """How many more cells the budget of trainings allows; None where only time ends the search."""
        most = self._search.budget.cells(len(self._seeds))
        return None if most is None else max(0, most - len(self.cells))

    @property
    def budget_is_spent(self) -> bool:
        """Whether no cell may be begun any more."""
        minutes = self._search.budget.minutes
        rows = (row for cell in self.cells for row in self._rows[cell.cell_id].values())
        return self.cells_left == 0 or (minutes is not None and trained_for(rows) >= timedelta(minutes=minutes))

    def jobs_left(self) -> list[Job]:
        """Return as many jobs as the budget of trainings allows, for cells that are not known yet: for forecasts."""
        left = 0 if self.budget_is_spent else self.cells_left
        return [Job(self.cells[0], self._seeds, whole=True)] * (left or 0)

    def cells_of_a_run(self, first: Sequence[Job]) -> int | None:
        """Return how many cells a run that begins with some jobs trains at most; None where time alone says so."""
        return None if self.cells_left is None else len(first) + len(self.jobs_left())

    def ahead(self) -> str:
        """Say in a line what the search has still to do."""
        budget = f"its budget is {self._search.budget.describe()}"
        if self.budget_is_spent:
            return f"the search is over: {budget}"
        return f"then the search suggests {f'up to {self.cells_left} ' if self.cells_left else ''}cells: {budget}"

    def jobs(
        self, first: Iterable[Job], at_once: Callable[[], int], begin: Callable[[Job], None]
    ) -> Iterator[Job | None]:
        """Yield the first jobs, then a suggested cell whenever fewer than ``at_once`` train; None says: not yet.

        ``begin`` is called with a suggested one before it is handed out.
        """
        for job in first:
            self._in_flight.add(job.cell.cell_id)
            yield job
        while True:
            if len(self._in_flight) >= at_once():
                yield None
                continue
            cell = None if self.budget_is_spent else self.suggest()
            if cell is None:
                break
            job = Job(cell, self._seeds, whole=True)
            begin(job)
            self.cells.append(cell)
            self._in_flight.add(cell.cell_id)
            yield job
        self._has_suggested_all = True

    def suggest(self) -> CellSettings | None:
        """Return a cell that the study does not have, or None where TRIES suggestions were none."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study that is made
        there = {cell.cell_id for cell in self.cells}
        known = [self._trial(cell) for cell in self.cells]
        for attempt in range(TRIES):
            seed = np.random.SeedSequence([self._search.seed, len(self.cells), attempt]).generate_state(1)[0]
            learned = TPESampler(seed=int(seed), n_startup_trials=self._search.startup)
            sampler = learned if attempt < LEARNED_TRIES else RandomSampler(seed=int(seed))
            asked = optuna.create_study(direction="maximize", sampler=sampler)
            asked.add_trials([trial for trial in known if trial is not None])
            point = asked.ask(dict(self._space)).params
            cell = self._grid.suggested(
                {n: given.rounded(point[n]) for n, given in self._search.ranges.items()}, self._data
            )
            if cell.cell_id not in there:
                return cell
        return None

    def _trial(self, cell: CellSettings) -> FrozenTrial | None:
        """Return what Optuna is told of a cell; it learns nothing of failed ones."""
        point = point_of(self._grid, cell)
        found = outcome_of(list(self._rows[cell.cell_id].values()), len(self._seeds))
        if point is None or (found is None and cell.cell_id not in self._in_flight):
            return None
        if found is None:
            return create_trial(state=TrialState.RUNNING, params=point, distributions=self._space)
        if found.pruned:
            told = {found.epoch: found.accuracy}
            return create_trial(
                state=TrialState.PRUNED, params=point, distributions=self._space, intermediate_values=told
            )
        return create_trial(params=point, distributions=self._space, value=found.accuracy)


def point_of(grid: Grid, cell: CellSettings) -> dict[str, Any] | None:
    """Return the cell's values of what is searched, or None for a cell that the search would not suggest."""
    assert grid.search is not None
    point = {name: getattr(cell, name) for name in grid.search.ranges}
    inside = all(given.holds(point[name]) for name, given in grid.search.ranges.items())
    return point if inside and grid.suggested(point, _data(cell)) == cell else None


def searched_cells(grid: Grid, given: Sequence[CellSettings], info: StudyInfo | None) -> list[CellSettings]:
    """Return the cells that a search begins with: those of study.json that are its own, and the grid's given ones."""
    stored = [] if info is None else info.cells
    same_data = [cell for cell in map(config_of, stored) if _data(cell) == _data(given[0])]
    own = [cell for cell in same_data if point_of(grid, cell) is not None]
    return list(dict.fromkeys([*own, *given]))


def _data(cell: CellSettings) -> str | None:
    """Return the source of a cell's data, where its model has several."""
    return getattr(cell, "data", None)
