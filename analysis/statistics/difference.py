"""Two studies compared cell by cell: the second less the first, paired where their seeds match."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, probability
from analysis.statistics.cells import describe_settings, describe_state, format_setting, summarise_cells
from analysis.statistics.intervals import Measure, holm, paired_p
from analysis.stored import CIRCUMSTANCES, FINISHED, AnalysisError

FIGURES = ("test_accuracy", "val_accuracy", "epochs")
LEVEL = 0.05
Settings = Mapping[str, Any]
Key = tuple[Any, ...]  # a cell's settings that are matched
Side = tuple[Mapping[Key, Settings], Mapping[int, pd.DataFrame], Mapping[str, str]]  # cells, trials and states


@dataclass(frozen=True)
class Change:
    """B less A in one figure of a cell, in its unit, over seeds that have finished.

    ``pairs`` counts the seeds of both; 0 where two or more of each are compared unpaired. ``low`` and ``high`` are the
    ends of the 95 % t interval, of the paired differences or by Welch; ``p`` is of the same t test, ``p_holm``
    corrected for the number of cells. All four are None where one value says nothing of the spread.
    """

    mean: float
    pairs: int
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None = None


@dataclass(frozen=True)
class CellDifference:
    """A cell of A, of B or of both: its factors; finished trials in both, in one only, and of those in both the ones
    with the same bits; how far it is in each study; and for each of FIGURES the change, None where one has no value.
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
    """Studies ``a`` and ``b``; ``protocol`` are the settings outside the factors in which they differ, with both
    values, and ``provenance`` what their runs say otherwise; ``cells`` those of A, then those of B alone.
    """

    a: str
    b: str
    protocol: Mapping[str, tuple[Any, Any]]
    provenance: Mapping[str, tuple[str, str]]
    cells: tuple[CellDifference, ...]


def difference_data(a: StudyData, b: StudyData, names: tuple[str, str]) -> Difference:
    """Compare two studies; ``names`` are what they are called.

    Cells match where all their settings do, but for those outside the factors of both in which the studies differ on
    purpose: then they match by the rest. Raises AnalysisError where that does not tell the cells of a study apart.
    """
    factors = list({**a.info.roles, **b.info.roles})
    protocol = _protocol(a.info.protocol, b.info.protocol, factors)
    told = set.intersection(*(set(cell) for data in (a, b) for cell in data.info.cells))
    matched = sorted(told - {"cell_id", *protocol})
    cells_a, cells_b = (_by_settings(data, matched, name) for data, name in zip((a, b), names, strict=True))
    keys = list({**cells_a, **cells_b})
    rows_a, rows_b = _finished(a, cells_a, keys), _finished(b, cells_b, keys)
    identical = _identical(rows_a, rows_b, a, b)
    sides = [(cells_a, _by_place(rows_a), _states(a)), (cells_b, _by_place(rows_b), _states(b))]
    found = [_cell(place, key, sides, identical, factors) for place, key in enumerate(keys)]
    return Difference(*names, protocol, _provenance(a.info.runs, b.info.runs), _corrected(found))


def _cell(
    place: int, key: Key, sides: Sequence[Side], identical: set[tuple[int, int]], factors: Sequence[str]
) -> CellDifference:
    cells = [cells.get(key) for cells, _, _ in sides]
    ids = [None if cell is None else str(cell["cell_id"]) for cell in cells]
    states = [states.get(ident or "", "not in this study") for ident, (_, _, states) in zip(ids, sides, strict=True)]
    first, second = (trials.get(place, pd.DataFrame()) for _, trials, _ in sides)
    both = first.index.intersection(second.index)
    return CellDifference(
        settings={name: next(cell[name] for cell in cells if cell) for name in factors},
        cell_id_a=ids[0],
        cell_id_b=ids[1],
        both=len(both),
        identical=sum((place, seed) in identical for seed in both),
        only_a=len(first) - len(both),
        only_b=len(second) - len(both),
        state_a=states[0],
        state_b=states[1],
        changes={name: _change(_values(first, name), _values(second, name)) for name in FIGURES},
    )


def _protocol(one: Settings, other: Settings, factors: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in {**one, **other} if name not in factors and one.get(name) != other.get(name)]
    return {name: (one.get(name), other.get(name)) for name in names}


def _by_settings(data: StudyData, matched: Sequence[str], name: str) -> dict[Key, Settings]:
    """Return the cells by what they are matched by."""
    cells = {tuple(cell[setting] for setting in matched): cell for cell in data.info.cells}
    if len(cells) < len(data.info.cells):
        raise AnalysisError(
            f"{name} has cells that differ only in settings which the other study does not name; "
            "run the other one again (that trains nothing), which writes all of its settings down"
        )
    return cells


def _finished(data: StudyData, cells: Mapping[Key, Settings], keys: Sequence[Key]) -> pd.DataFrame:
    """Return the finished trials of planned cells and seeds, by the cell's place in ``keys`` and the seed."""
    places = {cells[key]["cell_id"]: place for place, key in enumerate(keys) if key in cells}
    trials = data.trials.assign(place=data.trials["cell_id"].map(places))
    rows = trials[trials["status"].isin(FINISHED) & trials["place"].notna() & trials["seed"].isin(data.info.seeds)]
    return rows.astype({"place": int}).set_index(["place", "seed"]).sort_index()


def _by_place(rows: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(str(place)): group.droplevel("place") for place, group in rows.groupby(level="place")}


def _identical(first: pd.DataFrame, second: pd.DataFrame, a: StudyData, b: StudyData) -> set[tuple[int, int]]:
    """Return place and seed of each trial that has the same bits in both: its result and every epoch."""
    both = first.index.intersection(second.index)
    settings = {name for data in (a, b) for cell in data.info.cells for name in cell}
    same = _same(first.loc[both], second.loc[both], settings | CIRCUMSTANCES | {"trial_id"})
    curves = [
        data.epochs.drop(columns=["cell_id", "seed"], errors="ignore")
        .merge(rows.loc[both, "trial_id"].reset_index(), on="trial_id")
        .set_index(["place", "seed", "epoch"])
        for data, rows in ((a, first), (b, second))
    ]
    every = curves[0].index.union(curves[1].index)
    alike = _same(curves[0].reindex(every), curves[1].reindex(every), {"trial_id"})
    return set(both[same]) - set(every[~alike].droplevel("epoch"))


def _same(one: pd.DataFrame, other: pd.DataFrame, but: set[str]) -> Any:
    """Tell for each row whether all columns of both are the same, ``but`` some."""
    names = [name for name in one if name in other and name not in but]
    return (one[names].eq(other[names]) | (one[names].isna() & other[names].isna())).all(axis=1).to_numpy()


def _values(trials: pd.DataFrame, figure: str) -> "pd.Series[float]":
    """Return a figure of a cell's trials by seed."""
    return trials[figure].dropna().astype(float) if figure in trials else pd.Series(dtype=float)


def _change(first: "pd.Series[float]", second: "pd.Series[float]") -> Change | None:
    if first.empty or second.empty:
        return None
    seeds = first.index.intersection(second.index)
    if len(seeds) < 2 and min(len(first), len(second)) > 1:
        one, other = (Measure.of(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (second, first))
        found = one - other
        return Change(found.mean, 0, *found.ends, found.p)
    if seeds.empty:
        return Change(float(second.mean() - first.mean()), 0, None, None, None)
    gains = np.asarray(second[seeds] - first[seeds], np.float64)
    if len(gains) < 2:
        return Change(float(gains[0]), 1, None, None, None)
    found = Measure.of(float(gains.mean()), float(gains.std(ddof=1)), len(gains))
    return Change(found.mean, len(gains), *found.ends, paired_p(gains))


def _corrected(cells: Sequence[CellDifference]) -> tuple[CellDifference, ...]:
    """Correct the p values of each figure for the number of cells that have one."""
    changes: list[dict[str, Change | None]] = [dict(cell.changes) for cell in cells]
    for figure in FIGURES:
        known = [(row, change) for row in changes if (change := row[figure]) is not None and change.p is not None]
        for (row, change), p in zip(
            known, holm([change.p for _, change in known if change.p is not None]), strict=True
        ):
            row[figure] = replace(change, p_holm=p)
    return tuple(replace(cell, changes=row) for cell, row in zip(cells, changes, strict=True))


def _states(data: StudyData) -> dict[str, str]:
    return {cell["cell_id"]: describe_state(cell) for cell in summarise_cells(data).to_dict("records")}


def _provenance(a: Sequence[Settings], b: Sequence[Settings]) -> dict[str, tuple[str, str]]:
    """Return what the runs of one study say otherwise than those of the other: code, packages, data, machine."""
    one, other = _told(a), _told(b)
    pairs = {what: (one.get(what, "unknown"), other.get(what, "unknown")) for what in {**one, **other}}
    return {what: values for what, values in pairs.items() if values[0] != values[1]}


def _told(runs: Sequence[Settings]) -> dict[str, str]:
    """Return every fact of the runs, with all the values that it had."""
    facts: dict[str, set[str]] = {}
    for run in runs:
        for what, value in run.items():
            inner = value if isinstance(value, Mapping) else {"": value}
            for name, fact in inner.items():
                facts.setdefault(f"{what} {name}".strip().replace("_", " "), set()).add(str(fact))
    return {what: ", ".join(sorted(values)) for what, values in facts.items() if what != "started at"}


def summarise_difference(found: Difference) -> list[str]:
    """Say in words what the comparison shows."""
    cells = found.cells
    lines = [f"A is {found.a}, B is {found.b}; every difference is B less A."]
    if found.protocol:
        told = "; ".join(
            f"{name.replace('_', ' ')} {_setting(one)} in A, {_setting(other)} in B"
            for name, (one, other) in found.protocol.items()
        )
        lines.append(f"The studies differ in settings outside their factors: {told}. Cells match by all others.")
    only = [sum(getattr(cell, side) is None for cell in cells) for side in ("cell_id_b", "cell_id_a")]
    lines.append(f"Cells: {len(cells) - sum(only)} in both, {only[0]} only in A, {only[1]} only in B.")
    both, same = sum(cell.both for cell in cells), sum(cell.identical for cell in cells)
    only = [sum(getattr(cell, side) for cell in cells) for side in ("only_a", "only_b")]
    lines.append(f"Finished trials: {both} in both, {only[0]} only in A, {only[1]} only in B.")
    if both:
        share = "All" if same == both else "None" if not same else f"{same}"
        lines.append(f"{share} of the {both} trials in both have the same bits: result and every epoch.")
    tested = [p for cell in cells if (change := cell.changes["test_accuracy"]) and (p := change.p_holm) is not None]
    if tested and (same < both or not both):
        low = sum(p < LEVEL for p in tested)
        lines.append(f"Test accuracy differs in {low} of {len(tested)} cells (p < {LEVEL} after Holm's correction).")
    return lines


def _setting(value: Any) -> str:
    return "unknown" if value is None else format_setting(value)


def difference_sheet(found: Difference) -> Sheet:
    """Put the comparison into a table, a row a cell of both."""
    cells = [cell for cell in found.cells if cell.cell_id_a and cell.cell_id_b]
    factors = list(cells[0].settings) if cells else []
    varied = [name for name in factors if len({cell.settings[name] for cell in cells}) > 1] or factors
    return Sheet(
        name="difference",
        title="B less A",
        caption=(
            "Accuracies in points, with 95 % t intervals: of the differences by seed where both studies finished two "
            "or more of the same seeds, else between the means of all seeds (Welch); p of the same t test of test "
            "accuracy, corrected for the number of cells (Holm)."
        ),
        columns=(
            Column("cell", lambda row: describe_settings(row["settings"], varied)),
            Column("A", lambda row: row["state_a"]),
            Column("B", lambda row: row["state_b"]),
            Column("pairs", _pairs, numeric=True),
            Column("test", lambda row: _text(row["changes"]["test_accuracy"], 100), numeric=True),
            Column(
                "p, Holm", lambda row: probability((row["changes"]["test_accuracy"] or {}).get("p_holm")), numeric=True
            ),
            Column("validation", lambda row: _text(row["changes"]["val_accuracy"], 100), numeric=True),
            Column("epochs", lambda row: _text(row["changes"]["epochs"], 1), numeric=True),
        ),
        rows=tuple(map(asdict, cells)),
    )


def _pairs(row: Settings) -> str:
    change = row["changes"]["test_accuracy"]
    if change is None:
        return ""
    same = ", same bits" if row["identical"] and row["identical"] == row["both"] else ""
    return f"{change['pairs']}{same}" if change["pairs"] else "unpaired"


def _text(change: Settings | None, scale: int) -> str:
    if change is None:
        return ""
    ends = "" if change["low"] is None else f" ({scale * change['low']:+.1f} to {scale * change['high']:+.1f})"
    return f"{scale * change['mean']:+.1f}{ends}"


def provenance_sheet(found: Difference) -> Sheet:
    """List what the runs of both studies say otherwise."""
    return Sheet(
        name="provenance",
        title="Where they come from",
        caption="What the runs of the two studies do not say alike: code, packages, data and machines.",
        columns=tuple(Column(name, itemgetter(name)) for name in ("what", "A", "B")),
        rows=tuple({"what": what, "A": one, "B": other} for what, (one, other) in found.provenance.items()),
    )
