"""What the result of a cell becomes in the store: rows of ``trials`` and of ``epochs``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from analysis import stored
from study.words import Value, format_value
from trainables.config import TrainingSettings

Row = dict[str, Any]


@dataclass(frozen=True)
class CellResult:
    """How the training of some seeds of a cell ended.

    ``records`` are EpochRecords as dictionaries, of all seeds. A seed whose last record says
    that it is still running has ended as ``ended`` says, with ``error``. ``factors`` are the cell's
    settings that the study varies. The best epoch is that of the ``objective`` if there is no val_loss.
    ``made_by`` has the columns that say which code and data the rows are of.
    """

    cell: TrainingSettings
    seeds: tuple[int, ...]
    records: tuple[dict[str, Any], ...]
    ended: Literal["pruned", "failed"]
    error: str | None
    device: str
    started_at: datetime
    finished_at: datetime
    factors: dict[str, Value] = field(default_factory=dict)
    objective: stored.StoredMetric = stored.FIRST_METRICS[0]
    made_by: Mapping[str, str | None] = field(default_factory=dict)


def rows_of(study: str, result: CellResult) -> tuple[list[Row], list[Row]]:
    """Return the rows of ``trials`` and of ``epochs`` for a result."""
    trials = [_trial_row(study, result, seed) for seed in result.seeds]
    # A figure that no epoch has was measured at the end of the training.
    every_epoch = result.cell.epoch_figures()
    figures_at_the_end = [
        name for name in result.cell.trial_figures() if name.startswith("train_") and name not in every_epoch
    ]
    if any(row["status"] == "pruned" for row in trials):
        # The seeds of a cell live or die together: a seed that converged before the cell was
        # pruned is no sample of the cell, since the seeds that it would join have no result.
        for row in trials:
            if row["status"] != "failed":
                row["status"] = "pruned"
                row.update(dict.fromkeys(figures_at_the_end))
    return trials, [_epoch_row(result.cell, record) for record in result.records]


def _epoch_row(cell: TrainingSettings, record: dict[str, Any]) -> Row:
    row = {"cell_id": cell.cell_id, "trial_id": cell.trial_id(record["seed"])}
    row |= {name: record[name] for name in ("seed", "epoch")}
    names = ("learning_rate", "train_loss", "val_loss", *cell.epoch_figures())
    return row | {name: _figure(record, name) for name in names}


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
        **_setting_columns(result),
        "seed": seed,
        "status": status,
        "epochs": len(records),
        "train_time_s": sum(record["train_time_s"] for record in records),
        "device": result.device,
        **result.made_by,
        "error": error,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }
    # A failed training is missing, not bad: what it had reached is no result.
    return row if status == "failed" else row | _metrics(result, records)


def _setting_columns(result: CellResult) -> Row:
    """Return the settings that are columns: of every study, null if the cell's model does not store it, and factors."""
    cell = result.cell
    row: Row = {}
    for name, kind in stored.SETTING_COLUMNS.items():
        value = getattr(cell, name, None) if name in ("model", "learning_rate", *cell.stored_as_columns) else None
        # Your own model may call something else by this name.
        row[name] = value if type(value) in ((int, float) if kind is float else (kind,)) else None
    for name, value in result.factors.items():
        as_text = cell.kind_of(name) is str and value is not None
        row[name] = format_value(value) if as_text else value
    return row


def _metrics(result: CellResult, records: Sequence[dict[str, Any]]) -> Row:
    """Return the metrics of a trial from its records, in the order of their epochs."""
    last = records[-1]
    best = _best(result, records)
    row = {"best_epoch": best["epoch"], "val_loss": _figure(last, "val_loss")}
    for name in result.cell.trial_figures():
        record = best if name.startswith("best_") else last
        row[name] = _figure(record, name.removeprefix("best_"))
    return row


def _best(result: CellResult, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of the lowest validation loss, or without one of the best objective; the first of equals."""
    has_loss = _figure(records[-1], "val_loss") is not None
    name, sign = ("val_loss", -1) if has_loss else (result.objective.column("val"), result.objective.sign)
    known = [record for record in records if _figure(record, name) is not None]
    return max(known or records, key=lambda record: sign * (_figure(record, name) or 0.0))


def _figure(record: Mapping[str, Any], name: str) -> float | None:
    """Return a figure of an epoch, None if it is missing."""
    value: float | None = record["figures"].get(name)
    return None if value != value else value
