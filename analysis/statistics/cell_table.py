"""The table of all cells."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_settings, describe_state, summarise_cells
from analysis.statistics.intervals import estimates

LISTED = 500  # cells that people read of in the table of all cells
MEANS = {"val_accuracy": "validation", "test_digit_accuracy": "test digits"}


def cells_sheet(data: StudyData, rng: np.random.Generator) -> Sheet:
    """List every planned cell with its test accuracy; ``rng`` draws the bootstrap intervals."""
    cells, accuracy = summarise_cells(data), by_seed(data, "test_accuracy")
    complete = cells.loc[cells["state"] == "complete", "cell_id"]
    found = dict(zip(complete, estimates(accuracy.loc[complete].to_numpy(float), rng), strict=True))
    names = [name for name, role in data.info.roles.items() if role != "fixed"]
    # What a rule ties to a factor, such as a learning rate, and fixed factors that are not.
    names += [name for name in data.settings if name not in names and cells[name].nunique() > 1]
    metrics = [name for name in ("val_accuracy", "test_digit_accuracy") if cells[f"{name}_mean"].notna().any()]
    rows = []
    for cell in cells.to_dict("records"):
        row = {name: cell[name] for name in ("cell_id", *data.settings)}
        row |= {"state": cell["state"], "n": cell["n"], "epochs": None, "error": None}
        if cell["state"] == "pruned":
            row["epochs"] = int(cell["pruned_epoch"])
        if isinstance(cell["error"], str):
            row["error"] = cell["error"]
        row["words"] = describe_state(cell)
        for field in ("mean", "std", "low", "high", "bca_low", "bca_high"):
            value = getattr(found[cell["cell_id"]], field) if cell["cell_id"] in found else None
            row[f"test_accuracy_{field}"] = value
        for metric in metrics:
            mean = cell[f"{metric}_mean"]
            row[f"{metric}_mean"] = None if pd.isna(mean) else mean
        rows.append(row)
    shown: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    if len(cells) > LISTED:
        best = cells["val_accuracy_mean"].sort_values(ascending=False, kind="stable").index[:LISTED]
        shown = tuple(sorted(best))
        notes = (f"Of {len(cells)} cells, the {LISTED} with the highest mean validation accuracy; the CSV has all.",)
    return Sheet(
        name="cells",
        title="All cells",
        caption=(
            "Accuracies in percent, means over n seeds; intervals are 95 % t intervals. The CSV has BCa bootstrap "
            "intervals too."
        ),
        columns=(
            *(Column(name.replace("_", " "), partial(_setting, name), setting=True) for name in names),
            Column("seeds", lambda row: row["words"]),
            Column("test", lambda row: percent(row["test_accuracy_mean"]), numeric=True),
            Column("std", lambda row: percent(row["test_accuracy_std"]), numeric=True),
            Column(
                "95 % interval",
                lambda row: interval(row["test_accuracy_low"], row["test_accuracy_high"]),
                numeric=True,
            ),
            *(Column(MEANS[name], partial(_mean, name), numeric=True) for name in metrics),
        ),
        rows=tuple(rows),
        notes=notes,
        shown=shown,
    )


def _mean(metric: str, row: Mapping[str, Any]) -> str:
    return percent(row[f"{metric}_mean"])


def _setting(name: str, row: Mapping[str, Any]) -> str:
    return describe_settings(row, [name]).removeprefix(f"{name.replace('_', ' ')} ")
