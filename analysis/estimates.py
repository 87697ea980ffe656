"""Cells summed up over their seeds: mean, standard deviation, n, and what is missing."""

from typing import Any

import pandas as pd

from analysis.load import ACCURACIES, FINISHED, SETTINGS, StudyData


def summarise_cells(data: StudyData) -> pd.DataFrame:
    """Return one row a cell of study.json, in its order.

    Columns: ``cell_id``, the settings (and any further factor of the grid), ``n`` (finished seeds),
    ``n_planned``, ``n_failed``, ``pruned_epoch`` (nullable), ``state``, and for each accuracy ``<name>_mean``
    and ``<name>_std`` (fractions; unbiased standard deviation over seeds). ``state`` is ``complete``,
    ``pruned``, ``failed``, ``short`` or ``missing``; means and deviations are NaN unless it is ``complete``,
    so that no unfinished cell is ever averaged in.
    """
    n_planned = len(data.info["seeds"])
    columns = ("cell_id", *dict.fromkeys((*SETTINGS, *data.info["roles"])))
    rows_of = dict(list(data.trials.groupby("cell_id")))
    nothing = data.trials.iloc[:0]
    summaries = [
        {name: cell.get(name) for name in columns} | _summary(rows_of.get(cell["cell_id"], nothing), n_planned)
        for cell in data.info["cells"]
    ]
    return pd.DataFrame(summaries).astype({"pruned_epoch": "Int64"})


def _summary(trials: pd.DataFrame, n_planned: int) -> dict[str, Any]:
    """Sum up the trials of one cell."""
    finished = trials[trials["status"].isin(FINISHED)]
    pruned = trials.loc[trials["status"] == "pruned", "epochs"]
    n, n_failed = len(finished), int((trials["status"] == "failed").sum())
    if n and n >= n_planned:
        state = "complete"
    elif len(pruned):
        state = "pruned"
    elif n_failed:
        state = "failed"
    else:
        state = "short" if n else "missing"
    counts = {"n": n, "n_planned": n_planned, "n_failed": n_failed, "state": state}
    estimates = {}
    for name in ACCURACIES:
        values = finished[name].astype(float) if state == "complete" else pd.Series(dtype=float)
        estimates[f"{name}_mean"] = values.mean(skipna=False)
        estimates[f"{name}_std"] = values.std(ddof=1, skipna=False)
    return counts | {"pruned_epoch": int(pruned.max()) if len(pruned) else pd.NA} | estimates


def describe_state(row: "pd.Series[Any]") -> str:
    """Say in words how far the cell of a row of ``summarise_cells`` has come, such as ``7 of 10 seeds``."""
    n, n_planned = int(row["n"]), int(row["n_planned"])
    match row["state"]:
        case "pruned":
            return f"pruned at epoch {row['pruned_epoch']}"
        case "failed":
            return f"{row['n_failed']} of {n_planned} seeds failed"
        case "missing":
            return "not trained"
        case "short":
            return f"{n} of {n_planned} seeds"
        case _:
            return f"{n} seeds"
