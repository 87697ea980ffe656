"""The table of all cells."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_settings, describe_state, summarise_cells
from analysis.statistics.intervals import Estimate, estimate_as_row, estimates

LISTED = 500  # cells of the table that people read; its CSV has all
MEAN_COLUMNS = {"val_accuracy": "validation", "test_digit_accuracy": "test digits"}  # metrics and their headings


def cells_sheet(data: StudyData, rng: np.random.Generator) -> Sheet:
    """List every planned cell with its test accuracy; ``rng`` draws the bootstrap intervals."""
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
    return Sheet(
        name="cells",
        title="All cells",
        caption=(
            "Accuracies in percent, means over n seeds; intervals are 95 % t intervals. The CSV also has BCa bootstrap "
            "intervals."
        ),
        columns=_columns(_setting_names(data, cells), metrics),
        rows=rows,
        notes=() if listed is None else (note,),
        listed=listed,
    )


def _row(
    cell: Mapping[Any, Any], settings: Sequence[str], metrics: Sequence[str], found: Estimate | None
) -> dict[str, Any]:
    """Return the raw values of a cell, a row of ``summarise_cells``; None if they are unknown."""
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


def _setting_names(data: StudyData, cells: pd.DataFrame) -> list[str]:
    """Name the settings that tell cells apart: factors, and others that vary, such as what a rule ties to a factor."""
    names = [name for name, role in data.info.roles.items() if role != "fixed"]
    return names + [name for name in data.settings if name not in names and cells[name].nunique() > 1]


def _listed(cells: pd.DataFrame) -> tuple[int, ...] | None:
    """Return the places of the cells that people read; None if they can read all."""
    if len(cells) <= LISTED:
        return None
    best = cells["val_accuracy_mean"].sort_values(ascending=False, kind="stable").index[:LISTED]
    return tuple(sorted(best))


def _columns(settings: Sequence[str], metrics: Sequence[str]) -> tuple[Column, ...]:
    return (
        *(Column(name.replace("_", " "), partial(_setting_text, name), setting=True) for name in settings),
        Column("seeds", lambda row: row["words"]),
        Column("test", lambda row: percent(row["test_accuracy_mean"]), numeric=True),
        Column("std", lambda row: percent(row["test_accuracy_std"]), numeric=True),
        Column(
            "95 % interval",
            lambda row: interval(row["test_accuracy_low"], row["test_accuracy_high"]),
            numeric=True,
        ),
        *(Column(MEAN_COLUMNS[name], partial(_mean_text, name), numeric=True) for name in metrics),
    )


def _mean_text(metric: str, row: Mapping[str, Any]) -> str:
    return percent(row[f"{metric}_mean"])


def _setting_text(name: str, row: Mapping[str, Any]) -> str:
    return describe_settings(row, [name]).removeprefix(f"{name.replace('_', ' ')} ")
