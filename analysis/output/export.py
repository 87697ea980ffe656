"""A study as one tidy table: one row per trial, or per trial and epoch, with all settings."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from analysis.load import StudyData
from analysis.output.sheet import FORMULA_SIGNS, spreadsheet_text
from analysis.output.whole_file import whole_file
from analysis.settings import cells_table, is_column

COUNTS = {"epochs": "Int32", "best_epoch": "Int32"}  # pandas would make them fractions if one is unknown
IDENTITY = {"study", "cell_id", "trial_id", "seed", "status"}


def trials_table(data: StudyData) -> pa.Table:
    """Return one row per trial of a planned cell, cells in the report's order, then seeds in theirs.

    Columns are study, cell, settings, seed, status, and what the store has of the trial.
    """
    return _table(_trials(data))


def epochs_table(data: StudyData) -> pa.Table:
    """Return one row per trial and epoch: what ``trials_table`` has up to the status, then the epoch's.

    The rate of an epoch is ``epoch_learning_rate``, since ``learning_rate`` is the cell's.
    """
    trials = _trials(data).loc[:, :"status"]
    epochs = data.epochs[_filled(data.epochs)].drop(columns=["cell_id", "seed"], errors="ignore")
    clashes = {name: f"epoch_{name}" for name in epochs if name in trials and name != "trial_id"}
    rows = trials.merge(epochs.rename(columns=clashes), on="trial_id", validate="one_to_many")
    return _table(rows.sort_values("epoch", kind="stable").sort_values("order", kind="stable"))


def _trials(data: StudyData) -> pd.DataFrame:
    """Return the rows of ``trials_table``, and ``order``, which counts them."""
    cells = cells_table(data.info)
    settings = [name for name in cells if name != "cell_id"]
    for name in settings:
        if not is_column(cells[name]):
            cells[name] = list(map(_as_text, cells[name]))
    # A setting is taken from study.json, which has all of them, and not from its column in the store.
    measured = [name for name in _filled(data.trials) if name not in IDENTITY and name not in settings]
    rows = data.trials[["cell_id", "trial_id", "seed", "status", *measured]]
    rows = cells.reset_index(names="order").merge(rows, on="cell_id").sort_values(["order", "seed"])
    rows["order"] = range(len(rows))  # merges of the epochs do not keep the order
    rows = rows.assign(study=data.name)
    rows = rows.astype({name: kind for name, kind in COUNTS.items() if name in rows})
    return rows[["order", "study", "cell_id", "trial_id", *settings, "seed", "status", *measured]]


def _as_text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _filled(rows: pd.DataFrame) -> list[str]:
    """Name the columns that have values; ``error`` also without any, since it says that nothing failed."""
    return [str(name) for name in rows if name == "error" or rows[name].notna().any()]


def _table(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows.drop(columns="order"), preserve_index=False).replace_schema_metadata(None)


def _for_spreadsheets(table: pa.Table) -> pa.Table:
    signs = "".join(map(re.escape, FORMULA_SIGNS))
    for place, field in enumerate(table.schema):
        # Most columns have no such text, and going through all texts would take seconds.
        is_text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        if is_text and pc.any(pc.match_substring_regex(table[place], f"^[{signs}]")).as_py():
            texts = map(spreadsheet_text, table[place].to_pylist())
            table = table.set_column(place, field, pa.array(texts, field.type))
    return table


def write_table(table: pa.Table, out: Path, force: bool) -> None:
    """Write a table as CSV or Parquet, by the file's ending, with all digits; raises AnalysisError."""
    with whole_file(out, (".csv", ".parquet"), force) as path:
        if out.suffix == ".csv":
            pacsv.write_csv(_for_spreadsheets(table), path)
        else:
            pq.write_table(table, path, compression="zstd")
