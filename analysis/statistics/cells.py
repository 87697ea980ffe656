"""One row per planned cell: its means over seeds or why it has none; in words and a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.inference import Estimate, estimate_as_row, estimates
from analysis.stored import FINISHED

# A seed without these is not finished: cells are chosen by one and reported by the other.
NEEDED_METRICS = ("test_accuracy", "val_accuracy")
# Metrics with a mean per cell. Stores of older versions lack the last ones.
SUMMARISED_METRICS = (
    *NEEDED_METRICS,
    *("test_digit_accuracy", "best_test_accuracy"),
    *("train_accuracy", "train_digit_accuracy", "test_accuracy_by_probability"),
)
# What the table of all cells shows beside test accuracy: metrics and their headings.
MEAN_COLUMNS = {"val_accuracy": "validation", "test_digit_accuracy": "test digits"}
LISTED = 500  # cells of the table that people read; its CSV has all
STATE_IN_WORDS = {
    "complete": "{n:.0f} seeds",
    "pruned": "pruned at epoch {pruned_epoch:.0f}",
    "failed": "failed: {n_failed:.0f} of {n_planned:.0f}",
    "short": "{n:.0f} of {n_planned:.0f} seeds",
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


_summaries: WeakKeyDictionary[StudyData, pd.DataFrame] = WeakKeyDictionary()


def summarise_cells(data: StudyData) -> pd.DataFrame:
    """Return one row per planned cell, in the order of study.json: all its settings, and

    - ``n``, ``n_planned``, ``n_failed``: finished, planned and failed seeds; ``error``: of the first failed one;
    - ``state``: ``complete``, ``pruned`` (at ``pruned_epoch``), ``failed``, ``short`` of seeds, or ``missing``;
    - for each of SUMMARISED_METRICS, ``<metric>_mean`` and ``<metric>_std`` (ddof=1, NaN for one seed) over the
      seeds, in the metric's unit. They are NaN unless all planned seeds have finished, because the mean of some
      seeds is not the cell's;
    - ``tie_order``: the cell's place if cells are equally good (see ``selection.best_cell``).

    It is computed once for a study, whose cells, seeds and trials must not change afterwards.
    """
    if data not in _summaries:
        _summaries[data] = _summarise(data)
    return _summaries[data].copy()


def _summarise(data: StudyData) -> pd.DataFrame:
    cells = pd.DataFrame(data.info.cells).set_index("cell_id")
    tie_order = _tie_order(cells, data.tuned)
    planned = len(data.info.seeds)
    rows = data.trials[data.trials["seed"].isin(data.info.seeds)]
    rows = rows.assign(**{metric: np.nan for metric in SUMMARISED_METRICS if metric not in rows})
    finished = rows[rows["status"].isin(FINISHED)].dropna(subset=list(NEEDED_METRICS)).groupby("cell_id")
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
    }
    cells["state"] = np.select(list(states.values()), list(states), "missing")
    for metric in SUMMARISED_METRICS:
        whole = finished[metric].count() == planned
        cells[f"{metric}_mean"] = finished[metric].mean().where(whole)
        cells[f"{metric}_std"] = finished[metric].std(ddof=1).where(whole)
    cells["tie_order"] = tie_order
    return cells.reset_index()


def _tie_order(cells: pd.DataFrame, tuned: Sequence[str]) -> "pd.Series[int]":
    """Return each cell's place by its tuned numbers, smaller first; others keep their order, as words have none."""
    numbers = [name for name in tuned if pd.api.types.is_numeric_dtype(cells[name])]
    ordered = cells.sort_values(numbers, kind="stable") if numbers else cells
    return pd.Series(range(len(cells)), ordered.index)


def describe_state(cell: Mapping[Any, Any]) -> str:
    """Say in words how far a cell (a row of ``summarise_cells``) has come."""
    return STATE_IN_WORDS[cell["state"]].format_map(cell)


def describe_states(cells: pd.DataFrame) -> str:
    """Say how far some cells (rows of ``summarise_cells``) have come, each state once."""
    states = dict.fromkeys(map(describe_state, cells.to_dict("records")))
    return "; ".join(states) or "not in this study"


def describe_settings(cell: Mapping[Any, Any], names: Iterable[str]) -> str:
    """Write the named settings of a cell as a grid file does: off and on, and no needless decimals."""
    return ", ".join(f"{name.replace('_', ' ')} {format_setting(cell[name])}" for name in names)


def format_setting(value: Any) -> str:
    """Write a setting as a grid file does."""
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def setting_column(name: str, *, setting: bool = False, numeric: bool = False) -> Column:
    """Return the column of a setting by its name."""
    return Column(name.replace("_", " "), lambda row: format_setting(row[name]), numeric, setting)


def cells_sheet(data: StudyData, rng: np.random.Generator) -> Sheet:
    """List every planned cell with its test accuracy; ``rng`` draws bootstrap intervals."""
    cells = summarise_cells(data)
    accuracy = by_seed(data, "test_accuracy")
    complete = cells.loc[cells["state"] == "complete", "cell_id"]
    # All cells are estimated at once, since they share their resamples.
    found = dict(zip(complete, estimates(accuracy.loc[complete].to_numpy(float), rng), strict=True))
    metrics = [name for name in MEAN_COLUMNS if cells[f"{name}_mean"].notna().any()]
    records = cells.to_dict("records")
    rows = tuple(_row(cell, data.settings, metrics, found.get(cell["cell_id"])) for cell in records)
    listed = _listed(cells)
    note = f"Listed are the {LISTED} of {len(cells)} cells with the highest mean validation accuracy; the CSV has all."
    caption = (
        "Accuracies in percent, means over n seeds; intervals are 95 % t intervals. "
        "The CSV also has BCa bootstrap intervals."
    )
    # These tell cells apart: factors, and others that vary, such as what a rule ties to a factor.
    names = [name for name, role in data.info.roles.items() if role != "fixed"]
    names += [name for name in data.settings if name not in names and cells[name].nunique() > 1]
    columns = (
        *(setting_column(name, setting=True) for name in names),
        Column("seeds", lambda row: row["words"]),
        Column("test", lambda row: percent(row["test_accuracy_mean"]), numeric=True),
        Column("std", lambda row: percent(row["test_accuracy_std"]), numeric=True),
        Column("95 % interval", _interval_text, numeric=True),
        *map(_mean_column, metrics),
    )
    return Sheet("cells", "All cells", caption, columns, rows, () if listed is None else (note,), listed)


def _row(
    cell: Mapping[Any, Any], settings: Sequence[str], metrics: Sequence[str], found: Estimate | None
) -> dict[str, Any]:
    """Return the raw values of a cell, a row of ``summarise_cells``; None if unknown."""
    row = {name: cell[name] for name in ("cell_id", *settings)}
    row |= {"state": cell["state"], "n": cell["n"], "epochs": None, "error": None}
    if cell["state"] == "pruned":
        row["epochs"] = int(cell["pruned_epoch"])
    if isinstance(cell["error"], str):
        row["error"] = cell["error"]
    row["words"] = describe_state(cell)
    for field, value in estimate_as_row(found).items():
        if field != "n":
            row[f"test_accuracy_{field}"] = value
    for metric in metrics:
        mean = cell[f"{metric}_mean"]
        row[f"{metric}_mean"] = None if pd.isna(mean) else mean
    return row


def _listed(cells: pd.DataFrame) -> tuple[int, ...] | None:
    """Return the places of the cells that people read; None if they can read all."""
    if len(cells) <= LISTED:
        return None
    best = cells["val_accuracy_mean"].sort_values(ascending=False, kind="stable").index[:LISTED]
    return tuple(sorted(best))


def _interval_text(row: Mapping[str, Any]) -> str:
    return interval(row["test_accuracy_low"], row["test_accuracy_high"])


def _mean_column(metric: str) -> Column:
    return Column(MEAN_COLUMNS[metric], lambda row: percent(row[f"{metric}_mean"]), numeric=True)
