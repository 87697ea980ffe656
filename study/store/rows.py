"""What the result of a cell becomes in the store: rows of ``trials`` and of ``epochs``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from analysis import stored
from trainables.config import CellSettings

Row = dict[str, Any]


@dataclass(frozen=True)
class CellResult:
    """How the training of some seeds of a cell ended.

    ``records`` are EpochRecords as dictionaries, of all seeds. A seed whose last record says
    that it is still running has ended as ``ended`` says, with ``error``.
    """

    cell: CellSettings
    seeds: tuple[int, ...]
    records: tuple[dict[str, Any], ...]
    ended: Literal["pruned", "failed"]
    error: str | None
    device: str
    started_at: datetime
    finished_at: datetime


def rows_of(study: str, result: CellResult) -> tuple[list[Row], list[Row]]:
    """Return the rows of ``trials`` and of ``epochs`` for a result."""
    trials = [_trial_row(study, result, seed) for seed in result.seeds]
    if any(row["status"] == "pruned" for row in trials):
        # The seeds of a cell live or die together: a seed that converged before the cell was
        # pruned is no sample of the cell, since the seeds that it would join have no result.
        for row in trials:
            if row["status"] != "failed":
                row.update({"status": "pruned"} | dict.fromkeys(stored.END_METRICS))
    return trials, [_epoch_row(result.cell, record) for record in result.records]


def _epoch_row(cell: CellSettings, record: dict[str, Any]) -> Row:
    row = {name: _null_if_nan(record[name]) for name in stored.EPOCH_COLUMNS if name in record}
    return row | {"cell_id": cell.cell_id, "trial_id": cell.trial_id(record["seed"])}


def _trial_row(study: str, result: CellResult, seed: int) -> Row:
    own = [record for record in result.records if record["seed"] == seed]
    records = sorted(own, key=lambda record: record["epoch"])
    status, error = result.ended, result.error
    if records and records[-1]["status"] != "running":
        status, error = records[-1]["status"], records[-1]["error"]
    row = {
        "study": study,
        "cell_id": result.cell.cell_id,
        "trial_id": result.cell.trial_id(seed),
        **_setting_columns(result.cell),
        "seed": seed,
        "status": status,
        "epochs": len(records),
        "train_time_s": sum(record["train_time_s"] for record in records),
        "device": result.device,
        "error": error,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }
    # A failed training is missing, not bad: what it had reached is no result.
    return row if status == "failed" else row | _metrics(records)


def _setting_columns(cell: CellSettings) -> Row:
    """Return the settings that are columns, null if the cell's model does not store one so."""
    # A user's model may have a setting of the same name, but of another type than the column.
    own = {*CellSettings.model_fields, *cell.stored_as_columns}
    return {name: getattr(cell, name) if name in own else None for name in stored.SETTING_COLUMNS}


def _metrics(records: Sequence[dict[str, Any]]) -> Row:
    """Return the metrics of a trial from its records, in the order of their epochs."""
    last = records[-1]
    best = min(records, key=lambda record: record["val_loss"])
    row = {"best_epoch": best["epoch"]}
    for name in (*stored.EPOCH_METRICS, *stored.LAST_EPOCH_METRICS, *stored.END_METRICS):
        row[name] = _null_if_nan(last[name])
    for name in stored.BEST_EPOCH_METRICS:
        row[f"best_{name}"] = best[name]
    return row


def _null_if_nan(value: Any) -> Any:
    return None if value != value else value
