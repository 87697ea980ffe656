"""Two studies compared cell by cell: second minus first, paired if their seeds match."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.statistics.cells import describe_state, summarise_cells
from analysis.statistics.inference import Measure, estimate, holm, paired_p
from analysis.stored import CIRCUMSTANCES, FINISHED, MADE_BY, AnalysisError, StoredMetric

ABSENT = "not in this study"
Settings = Mapping[str, Any]
Key = tuple[Any, ...]  # the values of a cell's settings by which cells match


@dataclass(frozen=True)
class Change:
    """B minus A in one metric of a cell, as stored, over seeds that have finished.

    ``pairs`` counts the seeds that both have; it is 0 if two or more of each are compared unpaired.
    ``low`` and ``high`` are the ends of the 95 % t interval, of the paired differences or by Welch;
    ``p`` is of the same t test, ``p_holm`` corrected for the number of cells. All four are None if
    there is no spread, since there is one value or all are alike.
    """

    mean: float
    pairs: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class CellDifference:
    """A cell of A, of B or of both: its factors, and how far it is in each study.

    ``both``, ``only_a`` and ``only_b`` count its finished trials; ``identical`` are those in both that
    have the same bits. ``changes`` has each of the compared metrics, None if a study has no value.
    """

    settings: Settings
    cell_id_a: str | None
    cell_id_b: str | None
    both: int
    identical: int
    only_a: int
    only_b: int
    state_a: str
    state_b: str
    changes: Mapping[str, Change | None]


@dataclass(frozen=True)
class Difference:
    """The comparison of the studies ``a`` and ``b`` by their ``objective`` on some ``parts``, and by epochs.

    ``protocol`` has the settings outside the factors in which they differ, with both values;
    ``provenance`` the facts about their runs that differ. ``cells`` are A's, then those only in B.
    """

    a: str
    b: str
    objective: StoredMetric
    parts: tuple[str, ...]
    protocol: Mapping[str, tuple[Any, Any]]
    provenance: Mapping[str, tuple[str, str]]
    cells: tuple[CellDifference, ...]


@dataclass(frozen=True)
class _Side:
    """One of the two studies: the id and the state of each cell by its key.

    ``trials`` are the finished ones of planned cells and seeds, by the cell's place among all
    cells and the seed; ``by_place`` has the same rows cell by cell, by seed.
    """

    data: StudyData
    ids: Mapping[Key, str]
    states: Mapping[Key, str]
    trials: pd.DataFrame
    by_place: Mapping[int, pd.DataFrame]


def difference_data(a: StudyData, b: StudyData, names: tuple[str, str]) -> Difference:
    """Compare two studies; ``names`` are what they are called.

    Cells match by all settings but those that are a factor of neither and differ on purpose.
    Raises AnalysisError if the others do not tell the cells of a study apart, and if the studies have
    other objectives.
    """
    goal = a.info.goal
    if goal != b.info.goal:
        described = " and ".join(f"{side.info.goal.name} ({side.info.goal.goal})" for side in (a, b))
        fix = "compare studies that have the same metric, goal, unit and scale"
        raise AnalysisError(f"{names[0]} and {names[1]} have the objectives {described}; {fix}")
    parts = ("test", "val") if a.has_test and b.has_test else ("val",)
    if "test" in (a.info.selected_part, b.info.selected_part):
        parts = ("test",)
    factors = list({**a.info.roles, **b.info.roles})
    # A factor of one study that all cells of the other share is matched by its value.
    protocol = _different(a.info.protocol, b.info.protocol)
    for name in factors:
        protocol.pop(name, None)
    known = set().union(*a.info.cells) & set().union(*b.info.cells)
    matched = sorted(known - {"cell_id", *protocol})

    # Each cell has a place: those of A in their order, then those that only B has.
    cells_a = _by_settings(a, matched, names[0])
    cells_b = _by_settings(b, matched, names[1])
    keys = list({**cells_a, **cells_b})
    sides = (_side(a, cells_a, keys), _side(b, cells_b, keys))
    identical = _identical(*sides)
    found = []
    for place, key in enumerate(keys):
        cell = cells_a.get(key) or cells_b[key]
        settings = {name: cell[name] for name in factors if name in cell}
        found.append(_compare_cell(place, key, settings, sides, identical, (*map(goal.column, parts), "epochs")))
    provenance = _different(_facts(a), _facts(b), absent="unknown")
    return Difference(*names, goal, parts, protocol, provenance, _corrected(found))


def _different(one: Settings, other: Settings, absent: Any = None) -> dict[str, tuple[Any, Any]]:
    """Return what two mappings have different values of, with both; ``absent`` for none."""
    found = {}
    for name in {**one, **other}:
        pair = (one.get(name, absent), other.get(name, absent))
        if pair[0] != pair[1]:
            found[name] = pair
    return found


def _by_settings(data: StudyData, matched: Sequence[str], name: str) -> dict[Key, Settings]:
    cells = {}
    for cell in data.info.cells:
        cells[tuple(_hashable(cell.get(setting)) for setting in matched)] = cell
    if len(cells) < len(data.info.cells):
        problem = f"{name} has cells that differ only in settings that the other study does not have"
        fix = "run the other one again: that trains nothing, and writes down all of its settings"
        raise AnalysisError(f"{problem}; {fix}")
    return cells


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else repr(value)


def _side(data: StudyData, cells: Mapping[Key, Settings], keys: Sequence[Key]) -> _Side:
    # Cells by key and their summaries are both in the order of study.json.
    summary = summarise_cells(data)
    ids = dict(zip(cells, summary["cell_id"], strict=True))
    states = dict(zip(cells, map(describe_state, summary.to_dict("records")), strict=True))
    places = {ids[key]: place for place, key in enumerate(keys) if key in ids}
    trials = data.trials.assign(place=data.trials["cell_id"].map(places))
    planned = trials["place"].notna() & trials["seed"].isin(data.info.seeds)
    trials = trials[trials["status"].isin(FINISHED) & planned].astype({"place": int})
    trials = trials.set_index(["place", "seed"]).sort_index()
    # Grouped once, since looking a cell up among all trials takes time for each cell.
    by_place = {int(str(place)): rows.droplevel("place") for place, rows in trials.groupby("place")}
    return _Side(data, ids, states, trials, by_place)


def _identical(a: _Side, b: _Side) -> set[tuple[int, int]]:
    """Return place and seed of each trial with the same bits in both: its result and every epoch."""
    both = a.trials.index.intersection(b.trials.index)
    ignored = CIRCUMSTANCES.union(*a.data.info.cells, *b.data.info.cells, {"trial_id"})
    same_result = _equal_rows(a.trials.loc[both], b.trials.loc[both], ignored)

    # An epoch that only one of them has differs from none, so both are compared on all epochs.
    curves_a = _curves(a, both)
    curves_b = _curves(b, both)
    every = curves_a.index.union(curves_b.index)
    same_epoch = _equal_rows(curves_a.reindex(every), curves_b.reindex(every), {"trial_id"})
    return set(both[same_result]) - set(every[~same_epoch].droplevel("epoch"))


def _curves(side: _Side, trials: pd.Index) -> pd.DataFrame:
    epochs = side.data.epochs.drop(columns=["cell_id", "seed"], errors="ignore")
    ids = side.trials.loc[trials, "trial_id"].reset_index()
    return epochs.merge(ids, on="trial_id").set_index(["place", "seed", "epoch"])


def _equal_rows(one: pd.DataFrame, other: pd.DataFrame, ignored: set[str]) -> Any:
    """Tell for each row whether all columns but the ignored are the same; NaN equals NaN."""
    names = [name for name in one if name in other and name not in ignored]
    both_missing = one[names].isna() & other[names].isna()
    return (one[names].eq(other[names]) | both_missing).all(axis=1).to_numpy()


def _compare_cell(
    place: int,
    key: Key,
    settings: Settings,
    sides: tuple[_Side, _Side],
    identical: set[tuple[int, int]],
    metrics: Sequence[str],
) -> CellDifference:
    a, b = sides
    trials_a = a.by_place.get(place, pd.DataFrame())
    trials_b = b.by_place.get(place, pd.DataFrame())
    both = trials_a.index.intersection(trials_b.index)
    changes = {metric: _change(_values(trials_a, metric), _values(trials_b, metric)) for metric in metrics}
    return CellDifference(
        settings=settings,
        cell_id_a=a.ids.get(key),
        cell_id_b=b.ids.get(key),
        both=len(both),
        identical=sum((place, seed) in identical for seed in both),
        only_a=len(trials_a) - len(both),
        only_b=len(trials_b) - len(both),
        state_a=a.states.get(key, ABSENT),
        state_b=b.states.get(key, ABSENT),
        changes=changes,
    )


def _values(trials: pd.DataFrame, metric: str) -> "pd.Series[float]":
    return trials[metric].dropna().astype(float) if metric in trials else pd.Series(dtype=float)


def _change(first: "pd.Series[float]", second: "pd.Series[float]") -> Change | None:
    if first.empty or second.empty:
        return None
    seeds = first.index.intersection(second.index)

    # With fewer than two common seeds, the means of all seeds say more than the one pair.
    if len(seeds) < 2 and min(len(first), len(second)) > 1:
        unpaired = _measure(second) - _measure(first)
        return _known(unpaired.mean, 0, *unpaired.ends, unpaired.p)
    if seeds.empty:
        return Change(float(second.mean() - first.mean()), 0)
    gains = np.asarray(second[seeds] - first[seeds], np.float64)
    paired = estimate(gains)
    return _known(paired.mean, len(gains), paired.low, paired.high, paired_p(gains))


def _known(mean: float, pairs: int, *unsure: float) -> Change:
    """Return a change whose interval and p are None if they are NaN, as without a spread."""
    return Change(mean, pairs, *[None if np.isnan(value) else value for value in unsure])


def _measure(values: "pd.Series[float]") -> Measure:
    numbers = np.asarray(values, np.float64)
    return Measure.of(float(numbers.mean()), float(numbers.std(ddof=1)), len(numbers))


def _corrected(cells: Sequence[CellDifference]) -> tuple[CellDifference, ...]:
    """Correct the p values of each metric for the number of cells that have one."""
    changes = [dict(cell.changes) for cell in cells]
    for metric in changes[0] if changes else ():
        tested: dict[int, float] = {}
        for place, row in enumerate(changes):
            change = row[metric]
            if change is not None and change.p is not None:
                tested[place] = change.p
        for place, p_holm in zip(tested, holm(list(tested.values())), strict=True):
            found = changes[place][metric]
            assert found is not None
            changes[place][metric] = replace(found, p_holm=p_holm)
    return tuple(map(lambda cell, row: replace(cell, changes=row), cells, changes))


def _facts(data: StudyData) -> dict[str, str]:
    """Return every fact about the runs, except their start, with all values that it had; and who made the rows."""
    values: dict[str, set[str]] = {}
    for column in MADE_BY:
        if column in data.trials:
            values[f"{column.replace('_', ' ')} of trials"] = set(data.trials[column].dropna())
    for run in data.info.runs:
        for name, value in run.items():
            # Facts in a mapping, such as the versions of packages, are compared one by one.
            inner = value.items() if isinstance(value, Mapping) else [("", value)]
            for part, fact in inner:
                values.setdefault(f"{name} {part}".strip().replace("_", " "), set()).add(str(fact))
    values.pop("started at", None)
    return {name: ", ".join(sorted(found)) for name, found in values.items()}
