"""One row per planned cell: its means over seeds or why it has none; in words and a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, ends
from analysis.settings import as_key, cells_table, values_of
from analysis.statistics.inference import NO_LIMITS, Estimate, Limits, estimate_as_row, estimates
from analysis.stored import FINISHED, PART_IN_WORDS, StoredMetric, StudyInfo, format_number

LISTED = 500  # cells of the table that people read; its CSV has all
STATE_IN_WORDS = {
    "complete": "{n:.0f} seeds",
    "pruned": "pruned at epoch {pruned_epoch:.0f}",
    "failed": "failed: {n_failed:.0f} of {n_planned:.0f}",
    "short": "{n:.0f} of {n_planned:.0f} seeds",
    "blank": "finished, without a result",
    "missing": "not run",
}


def by_seed(data: StudyData, metric: str) -> pd.DataFrame:
    """Return ``metric`` by ``cell_id`` and seed, both as planned; NaN if a trial has not finished."""
    index = [cell["cell_id"] for cell in data.info.cells]
    seeds = data.info.seeds
    if metric not in data.trials:
        return pd.DataFrame(np.nan, index, seeds)
    rows = data.trials[data.trials["status"].isin(FINISHED)]
    values = rows.pivot(index="cell_id", columns="seed", values=metric)
    return values.reindex(index=index, columns=seeds).astype(float)


def limits_of(data: StudyData) -> Limits:
    """Return between which stored values the mean of the objective can lie: 0 and 1 for a share in percent."""
    goal = data.info.goal
    is_share = (goal.unit, goal.scale) == ("%", 100) and data.trials[data.reported].dropna().between(0, 1).all()
    return (0.0, 1.0) if is_share else NO_LIMITS


_summaries: WeakKeyDictionary[StudyData, pd.DataFrame] = WeakKeyDictionary()


def summarise_cells(data: StudyData) -> pd.DataFrame:
    """Return one row per planned cell, in the order of study.json: all its settings, and

    - ``n``, ``n_planned``, ``n_failed``: finished, planned and failed seeds; ``error``: of the first failed one;
    - ``state``: ``complete``, ``pruned`` (at ``pruned_epoch``), ``failed``, ``short`` of seeds, ``blank`` if seeds
      finished without the objective, or ``missing``; a seed without the objective does not count as finished;
    - for each column of the study's metrics, ``<column>_mean`` and ``<column>_std`` (ddof=1, NaN for one seed) over
      the seeds, as stored. They are NaN unless all planned seeds have a value, because the mean of some seeds is
      not the cell's;
    - ``merit``: the mean of the objective on the validation part, negative if less is better: the best has the most;
    - ``tie_order``: the cell's place if cells are equally good (see ``selection.best_cell``).

    It is computed once for a study, whose cells, seeds and trials must not change afterwards.
    """
    if data not in _summaries:
        _summaries[data] = _summarise(data)
    return _summaries[data].copy()


def _summarise(data: StudyData) -> pd.DataFrame:
    cells = cells_table(data.info).set_index("cell_id")
    tie_order = _tie_order(cells, data.tuned)
    planned = len(data.info.seeds)
    rows = data.trials[data.trials["seed"].isin(data.info.seeds)]
    columns = data.info.metric_columns
    rows = rows.assign(**{column: np.nan for column in columns if column not in rows})
    ended = rows[rows["status"].isin(FINISHED)]
    # Cells are chosen by the one and reported by the other.
    finished = ended.dropna(subset=[data.selection, data.reported]).groupby("cell_id")
    failed = rows[rows["status"] == "failed"].groupby("cell_id")

    cells["n"] = finished.size().reindex(cells.index, fill_value=0)
    cells["n_planned"] = planned
    cells["n_failed"] = failed.size().reindex(cells.index, fill_value=0)
    cells["error"] = failed["error"].first()
    cells["pruned_epoch"] = rows[rows["status"] == "pruned"].groupby("cell_id")["epochs"].max()

    # The first state that is true counts: a pruned cell that also failed was pruned.
    states = {
        "complete": cells["n"] == planned,
        "pruned": cells["pruned_epoch"].notna(),
        "failed": cells["n_failed"] > 0,
        "short": cells["n"] > 0,
        "blank": pd.Series(cells.index.isin(ended["cell_id"]), cells.index),
    }
    cells["state"] = np.select(list(states.values()), list(states), "missing")
    for column in columns:
        whole = finished[column].count() == planned
        cells[f"{column}_mean"] = finished[column].mean().where(whole)
        cells[f"{column}_std"] = finished[column].std(ddof=1).where(whole)
    cells["merit"] = data.info.goal.sign * cells[f"{data.selection}_mean"]
    cells["tie_order"] = tie_order
    return cells.reset_index()


def _tie_order(cells: pd.DataFrame, tuned: Sequence[str]) -> "pd.Series[int]":
    """Return each cell's place by its tuned numbers, smaller first; others keep their order, as words have none."""
    numbers = [name for name in tuned if pd.api.types.is_numeric_dtype(cells[name])]
    ordered = cells.sort_values(numbers, kind="stable") if numbers else cells
    return pd.Series(range(len(cells)), ordered.index)


def sort_cells(info: StudyInfo, cells: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Sort cells by some settings, whose values may be of several types; equal ones keep their order."""
    for name in reversed(names):
        places = {as_key(value): place for place, value in enumerate(values_of(info, name))}
        order = cells[name].map(as_key).map(places)
        cells = cells.loc[order.sort_values(kind="stable", na_position="first").index]
    return cells


def strata_of(cells: pd.DataFrame, names: Sequence[str]) -> "pd.Series[str]":
    """Return a name of each cell's stratum: cells with the same values of the settings have the same."""
    # Not by pandas, which leaves out groups of None, and takes it for what a cell does not have.
    values = cells[[*names, "n_planned"]].itertuples(index=False, name=None)
    return pd.Series(map(repr, values), cells.index, dtype=str)


def describe_state(cell: Mapping[Any, Any]) -> str:
    """Say in words how far a cell (a row of ``summarise_cells``) has come."""
    return STATE_IN_WORDS[cell["state"]].format_map(cell)


def describe_states(cells: pd.DataFrame) -> str:
    """Say how far some cells (rows of ``summarise_cells``) have come, each state once."""
    states = dict.fromkeys(map(describe_state, cells.to_dict("records")))
    return "; ".join(states) or "not in this study"


def describe_settings(cell: Mapping[Any, Any], names: Iterable[str]) -> str:
    """Write the named settings of a cell as a grid file does: off and on, and no needless decimals."""
    written = [(name.replace("_", " "), format_setting(cell.get(name, np.nan))) for name in names]
    return ", ".join(f"{name} {value}" for name, value in written if value)


def format_setting(value: Any) -> str:
    """Write a setting as a grid file does; nothing for NaN, a setting that a cell does not have."""
    if value is None or value != value:
        return "none" if value is None else ""
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    return format_number(value) if isinstance(value, (int, float)) else str(value)


def setting_column(name: str, *, setting: bool = False, numeric: bool = False) -> Column:
    """Return the column of a setting by its name."""
    return Column(name.replace("_", " "), lambda row: format_setting(row.get(name, np.nan)), numeric, setting)


def cells_sheet(data: StudyData) -> Sheet:
    """List every planned cell with its metrics."""
    goal = data.info.goal
    cells = summarise_cells(data)
    values = by_seed(data, data.reported)
    complete = cells.loc[cells["state"] == "complete", "cell_id"]
    found = dict(zip(complete, estimates(values.loc[complete].to_numpy(float), limits_of(data)), strict=True))
    means = _further_means(data, cells)
    records = cells.to_dict("records")
    rows = tuple(_row(cell, data, means, found.get(cell["cell_id"])) for cell in records)
    listed = _listed(cells)
    best = goal.best_mean(data.info.selected_part)
    note = f"Listed are the {LISTED} of {len(cells)} cells with the {best}; the CSV has all."
    caption = (
        f"{goal.label.capitalize()}{f' in {goal.unit}' if goal.unit else ''}: means over n seeds; intervals are 95 % t "
        "intervals."
    )
    if less := [metric.label for metric in data.info.metrics if metric.sign < 0]:
        caption += f" Less is better: {', '.join(less)}."
    # These tell cells apart: factors, and others that vary, such as what a rule ties to a factor.
    names = [name for name, role in data.info.roles.items() if role != "fixed"]
    names += [name for name in data.settings if name not in names and cells[name].nunique(dropna=False) > 1]
    columns = (
        *(setting_column(name, setting=True) for name in names),
        Column("seeds", lambda row: row["words"]),
        *_reported_columns(data),
        *(_mean_column(data, metric, part) for metric, part in means),
    )
    return Sheet("cells", "All cells", caption, columns, rows, () if listed is None else (note,), listed)


def _further_means(data: StudyData, cells: pd.DataFrame) -> list[tuple[StoredMetric, str]]:
    """Return the metrics, and the part of each, that the table shows beside what is reported, as far as known."""
    goal = data.info.goal
    shown = [(goal, "val")]
    for metric in data.info.metrics:
        parts = [part for part in ("test", "val") if cells[f"{metric.column(part)}_mean"].notna().any()]
        if metric != goal and parts:
            shown.append((metric, parts[0]))
    return shown[1:] if data.selection == data.reported else shown


def _row(
    cell: Mapping[Any, Any], data: StudyData, means: Sequence[tuple[StoredMetric, str]], found: Estimate | None
) -> dict[str, Any]:
    """Return the raw values of a cell, a row of ``summarise_cells``; None if unknown."""
    # A setting that the cell does not have is no value of its row.
    row = {name: cell[name] for name in ("cell_id", *data.settings) if format_setting(cell[name])}
    row |= {"state": cell["state"], "n": cell["n"], "epochs": None, "error": None}
    if cell["state"] == "pruned":
        row["epochs"] = int(cell["pruned_epoch"])
    if isinstance(cell["error"], str):
        row["error"] = cell["error"]
    row["words"] = describe_state(cell)
    for field, value in estimate_as_row(found).items():
        if field != "n":
            row[f"{data.reported}_{field}"] = value
    for metric, part in means:
        mean = cell[f"{metric.column(part)}_mean"]
        row[f"{metric.column(part)}_mean"] = None if pd.isna(mean) else mean
    return row


def _listed(cells: pd.DataFrame) -> tuple[int, ...] | None:
    """Return the places of the cells that people read; None if they can read all."""
    if len(cells) <= LISTED:
        return None
    best = cells["merit"].sort_values(ascending=False, kind="stable").index[:LISTED]
    return tuple(sorted(best))


def _reported_columns(data: StudyData) -> tuple[Column, ...]:
    goal, name = data.info.goal, data.reported
    return (
        _mean_column(data, goal, data.reported_part),
        Column("std", lambda row: goal.number(row[f"{name}_std"]), numeric=True),
        Column("95 % interval", lambda row: ends(goal, row[f"{name}_low"], row[f"{name}_high"]), numeric=True),
    )


def _mean_column(data: StudyData, metric: StoredMetric, part: str) -> Column:
    name = f"{metric.column(part)}_mean"
    # The caption says what columns without a metric's name are about.
    heading = PART_IN_WORDS[part] if metric == data.info.goal else metric.heading(part)
    return Column(heading, lambda row: metric.number(row[name]), numeric=True)
