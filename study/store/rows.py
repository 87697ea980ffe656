"""The schema of the store's two datasets, and what the result of a cell becomes in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from study.store.schema import AT_THE_END, EPOCHS, LAST_EPOCH, REPORTED_SETTINGS
from trainables.config import CellSettings


@dataclass(frozen=True)
class CellResult:
    """How the training of some seeds of a cell ended.

    ``records`` are EpochRecords as dictionaries, of all seeds. ``ended`` is what befell the seeds that no record says
    have ended: nothing is known of how they would have gone on.
    """

    cell: CellSettings
    seeds: tuple[int, ...]
    records: tuple[dict[str, Any], ...]
    ended: Literal["pruned", "failed"]
    error: str | None
    device: str
    started_at: datetime
    finished_at: datetime


def rows_of(study: str, result: CellResult) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of ``trials`` and of ``epochs`` for a result."""
    trials = [_trial_row(study, result, seed) for seed in result.seeds]
    if any(row["status"] == "pruned" for row in trials):
        # The seeds of a cell live or die together: one that converged before the cell was pruned has no mean to join.
        for row in trials:
            if row["status"] != "failed":
                row.update({"status": "pruned"} | dict.fromkeys(AT_THE_END))
    names = {"cell_id": result.cell.cell_id}
    epochs = [
        {name: record[name] for name in EPOCHS.names if name in record}
        | names
        | {"trial_id": result.cell.trial_id(record["seed"])}
        for record in result.records
    ]
    return trials, [{name: _null_if_nan(value) for name, value in row.items()} for row in epochs]


def _trial_row(study: str, result: CellResult, seed: int) -> dict[str, Any]:
    records = sorted((r for r in result.records if r["seed"] == seed), key=lambda record: record["epoch"])
    status = records[-1]["status"] if records else "running"
    error = records[-1]["error"] if records else None
    if status == "running":
        status, error = result.ended, result.error
    cell = result.cell
    row = {
        "study": study,
        "cell_id": cell.cell_id,
        "trial_id": cell.trial_id(seed),
        "model": cell.model,
        "learning_rate": cell.learning_rate,
        # Of a model of one's own, study.json has the settings: they may be of any type.
        **{name: getattr(cell, name) if name in cell.stored_as_columns else None for name in REPORTED_SETTINGS},
        "seed": seed,
        "status": status,
        "epochs": len(records),
        "train_time_s": sum(record["train_time_s"] for record in records),
        "device": result.device,
        "error": error,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }
    return row if status == "failed" else row | _metrics(records)


def _metrics(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    best = min(records, key=lambda record: record["val_loss"])
    last = {name: records[-1][name] for name in (*LAST_EPOCH, *AT_THE_END, "test_accuracy_by_probability")}
    return {name: _null_if_nan(value) for name, value in last.items()} | {
        "best_epoch": best["epoch"],
        "best_test_accuracy": best["test_accuracy"],
        "best_test_digit_accuracy": best["test_digit_accuracy"],
    }


def _null_if_nan(value: Any) -> Any:
    return None if value != value else value
