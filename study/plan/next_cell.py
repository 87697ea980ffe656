"""Which cell a search trains next. Only the cells that it has and the store's rows of them decide it.

Optuna is asked afresh for every cell, with random numbers that depend only on the search's seed
and the number of the cell. So an interrupted search continues as if it had not been. A sampler
that lives as long as the run, as in Ray's own OptunaSearch, would draw its first cells again.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.statistics.search_summary import distribution
from analysis.stored import FINISHED, StudyInfo
from study.grid.grid import Grid
from study.plan.jobs import Job, plan_job
from study.store.study_json import config_of
from trainables.config import TrainingSettings

TRIES = 500  # suggestions in a row that may all be cells that the study has
LEARNED_TRIES = 10  # after so many the sampler would repeat itself, so the others are random

TrialRow = Mapping[str, Any]


def score_of(trials: Collection[TrialRow], seeds: int, column: str) -> float | None:
    """Return the mean of a column over a cell's seeds, or None if a seed has failed or has no figure."""
    figures = []
    for row in trials:
        # A part that other code wrote may lack the column.
        if row["status"] in (*FINISHED, "pruned") and row.get(column) is not None:
            figures.append(row[column])
    # Rounded, since in another order the last bit of the mean may differ.
    return round(float(np.mean(figures)), 12) if len(figures) == len(trials) == seeds else None


def trained_for(trials: Iterable[TrialRow]) -> timedelta:
    """Return for how long at least one cell was training; shared time counts once."""
    total = timedelta(0)
    until: datetime | None = None
    for start, end in sorted({(row["started_at"], row["finished_at"]) for row in trials}):
        if until is None or end > until:
            total += end - (start if until is None else max(start, until))
            until = end
    return total


class CellSearch:
    """The state of a search: ``cells`` as they were suggested, and what the store has."""

    def __init__(
        self, grid: Grid, seeds: Sequence[int], cells: Iterable[TrainingSettings], trials: Iterable[TrialRow]
    ) -> None:
        assert grid.search is not None
        self._grid, self._asked, self._seeds = grid, grid.search, tuple(seeds)
        goal = grid.objective_metric
        self._column = f"val_{goal.name}"
        self._direction = StudyDirection.MAXIMIZE if goal.goal == "max" else StudyDirection.MINIMIZE
        self._space: dict[str, BaseDistribution] = {}
        for name, given in grid.search.ranges.items():
            self._space[name] = distribution(given.model_dump(exclude_none=True))
        self.cells = list(cells)
        self._data = _data(self.cells[0])
        self._trials: dict[str, dict[str, TrialRow]] = defaultdict(dict)  # by cell and trial
        self._in_flight: set[str] = set()
        self._has_suggested_all = False  # the budget is spent, or there is no new cell
        self.learn(trials)

    def learn(self, trials: Iterable[TrialRow]) -> None:
        """Take in the rows of cells that have ended."""
        for row in trials:
            if row["seed"] in self._seeds:
                self._trials[row["cell_id"]][row["trial_id"]] = row
                self._in_flight.discard(row["cell_id"])

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to suggest, and all cells handed out have ended."""
        return self._has_suggested_all and not self._in_flight

    @property
    def cells_left(self) -> int | None:
        """How many more cells the budget of trainings allows; None if only time ends it."""
        most = self._asked.budget.cells(len(self._seeds))
        return None if most is None else max(0, most - len(self.cells))

    @property
    def budget_is_spent(self) -> bool:
        """Whether no further cell may begin."""
        minutes = self._asked.budget.minutes
        trials = (row for cell in self.cells for row in self._trials[cell.cell_id].values())
        too_late = minutes is not None and trained_for(trials) >= timedelta(minutes=minutes)
        return self.cells_left == 0 or too_late

    def jobs_left(self) -> list[Job]:
        """Return as many jobs as the budget of trainings allows, for forecasts."""
        left = 0 if self.budget_is_spent else self.cells_left
        return [plan_job(self._grid, self.cells[0], self._seeds)] * (left or 0)

    def cells_of_a_run(self, first: Sequence[Job]) -> int | None:
        """Return the most cells of a run with these first jobs; None if time decides it."""
        return None if self.cells_left is None else len(first) + len(self.jobs_left())

    def ahead(self) -> str:
        """Say in one line what the search has still to do."""
        budget = f"its budget is {self._asked.budget.describe()}"
        if self.budget_is_spent:
            return f"the search is over: {budget}"
        most = f"up to {self.cells_left} " if self.cells_left else ""
        return f"then the search suggests {most}cells: {budget}"

    def jobs(
        self, first: Iterable[Job], at_once: Callable[[], int], begin: Callable[[Job], None]
    ) -> Iterator[Job | None]:
        """Yield the first jobs, then others after ``begin``; None if ``at_once()`` train."""
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
            job = plan_job(self._grid, cell, self._seeds)
            begin(job)
            self.cells.append(cell)
            self._in_flight.add(cell.cell_id)
            yield job
        self._has_suggested_all = True

    def suggest(self) -> TrainingSettings | None:
        """Return a cell that the study lacks, or None if TRIES suggestions were all known."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it reports every study
        there = {cell.cell_id for cell in self.cells}
        known = list(filter(None, map(self._as_optuna_trial, self.cells)))
        for attempt in range(TRIES):
            # The seed depends on nothing but three numbers, never on what was drawn before.
            sequence = np.random.SeedSequence([self._asked.seed, len(self.cells), attempt])
            seed = int(sequence.generate_state(1)[0])
            learned = TPESampler(seed=seed, n_startup_trials=self._asked.startup)
            sampler = learned if attempt < LEARNED_TRIES else RandomSampler(seed=seed)
            asked = optuna.create_study(direction=self._direction, sampler=sampler)
            asked.add_trials(known)
            point = asked.ask(dict(self._space)).params
            rounded = {name: given.rounded(point[name]) for name, given in self._asked.ranges.items()}
            cell = self._grid.suggested(rounded, self._data)
            if cell.cell_id not in there:
                return cell
        return None

    def _as_optuna_trial(self, cell: TrainingSettings) -> FrozenTrial | None:
        """Return what Optuna learns of a cell: None if it failed or is out of range."""
        point = point_of(self._grid, cell)
        trials = self._trials[cell.cell_id].values()
        score = score_of(trials, len(self._seeds), self._column)
        if point is None or (score is None and cell.cell_id not in self._in_flight):
            return None
        known: dict[str, Any] = {"params": point, "distributions": self._space}
        if score is None:
            return create_trial(state=TrialState.RUNNING, **known)
        if "pruned" in {row["status"] for row in trials}:
            last = {max(row["epochs"] for row in trials): score}
            return create_trial(state=TrialState.PRUNED, intermediate_values=last, **known)
        return create_trial(value=score, **known)


def point_of(grid: Grid, cell: TrainingSettings) -> dict[str, Any] | None:
    """Return the cell's values of the searched settings, None if it would not be suggested."""
    assert grid.search is not None
    point = {}
    for name, given in grid.search.ranges.items():
        point[name] = getattr(cell, name)
        if not given.holds(point[name]):
            return None
    # Within the ranges it may still differ in a setting that is not searched.
    return point if grid.suggested(point, _data(cell)) == cell else None


def searched_cells(grid: Grid, given: Sequence[TrainingSettings], info: StudyInfo | None) -> list[TrainingSettings]:
    """Return the cells with which a search begins: its own of study.json, and the grid's."""
    own = []
    for cell in map(config_of, () if info is None else info.cells):
        if _data(cell) == _data(given[0]) and point_of(grid, cell) is not None:
            own.append(cell)
    return list(dict.fromkeys([*own, *given]))


def _data(cell: TrainingSettings) -> str | None:
    """Return the source of a cell's data, if its model has several."""
    return getattr(cell, "data", None)
