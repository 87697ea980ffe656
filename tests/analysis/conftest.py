"""A builder of small real stores, written here with pyarrow alone: the analysis must not need the rest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROTOCOL = {"data": "mnist5k", "max_epochs": 80}
ROLES = {"sharing": "scientific", "aux_weight": "tuned", "dropout": "scientific", "learning_rate": "fixed"}
TRIAL_TYPES = {
    **dict.fromkeys(("study", "cell_id", "trial_id", "model"), pa.string()),
    "sharing": pa.bool_(),
    **dict.fromkeys(("aux_weight", "dropout", "learning_rate"), pa.float64()),
    "seed": pa.int64(),
    "status": pa.string(),
    **dict.fromkeys(("epochs", "best_epoch"), pa.int32()),
    **dict.fromkeys(("val_loss", "val_accuracy", "test_accuracy", "test_digit_accuracy"), pa.float64()),
    **dict.fromkeys(("best_test_accuracy", "best_test_digit_accuracy", "train_time_s"), pa.float64()),
    **dict.fromkeys(("device", "error"), pa.string()),
    **dict.fromkeys(("started_at", "finished_at"), pa.timestamp("us", tz="UTC")),
}
EPOCH_TYPES = {
    **dict.fromkeys(("cell_id", "trial_id"), pa.string()),
    "seed": pa.int64(),
    "epoch": pa.int32(),
    **dict.fromkeys(("learning_rate", "train_loss", "val_loss"), pa.float64()),
    **dict.fromkeys(("val_accuracy", "test_accuracy", "test_digit_accuracy"), pa.float64()),
}


@dataclass(frozen=True)
class Cell:
    """A cell with the accuracies of its seeds: one trial for each of ``test``, seeds counted from ``first_seed``.

    ``val`` is 0.9 for every seed unless given. ``status`` is one for all seeds or one a seed. ``epochs`` is how many
    each trial ran; its accuracy rises from a half, in equal steps, to its last.
    """

    sharing: bool = False
    aux_weight: float = 0.0
    dropout: float = 0.0
    test: Sequence[float] = ()
    val: Sequence[float] = ()
    status: str | Sequence[str] = "completed"
    epochs: int = 3
    first_seed: int = 0
    learning_rate: float = 0.001
    model: str = "comparator"
    further: dict[str, Any] = field(default_factory=dict)

    @property
    def cell_id(self) -> str:
        settings = (self.model, int(self.sharing), self.aux_weight, self.dropout, self.learning_rate)
        return "-".join(map(str, (*settings, *self.further.values())))

    @property
    def settings(self) -> dict[str, Any]:
        names = ("model", "sharing", "aux_weight", "dropout", "learning_rate")
        return {name: getattr(self, name) for name in names} | self.further


@dataclass(frozen=True)
class StudyBuilder:
    """Writes studies into ``storage``."""

    storage: Path

    def __call__(
        self, cells: Sequence[dict[str, Any]], name: str = "test-study", seeds: int = 2, **info: Any
    ) -> tuple[str, str]:
        """Write a study of cells, given as Cell's arguments, with one part a cell that has trials.

        Return what ``load_study`` takes. ``info`` replaces keys of study.json.
        """
        planned = [Cell(**cell) for cell in cells]
        folder = self.storage / name
        for kind in ("trials", "epochs"):
            (folder / kind).mkdir(parents=True)
        content = {
            "schema": 1,
            "study": name,
            "grid": "table1",
            "roles": ROLES,
            "cells": [{"cell_id": cell.cell_id, **cell.settings, **PROTOCOL} for cell in planned],
            "seeds": list(range(seeds)),
            "protocol": PROTOCOL,
            "runs": [RUN],
        }
        (folder / "study.json").write_text(json.dumps(content | info))
        for cell, arguments in zip(planned, cells, strict=True):
            if cell.test:
                self.add_part(name, **arguments)
        return str(self.storage), name

    def add_part(self, name: str, part: str = "", **arguments: Any) -> str:
        """Write the trials of a cell as one part of a study; return the name of its files."""
        cell = Cell(**arguments)
        part = part or f"{cell.cell_id}.parquet"
        trials = [trial_row(name, cell, index) for index in range(len(cell.test))]
        epochs = [row for index in range(len(cell.test)) for row in epoch_rows(cell, index)]
        for kind, rows, types in (("trials", trials, TRIAL_TYPES), ("epochs", epochs, EPOCH_TYPES)):
            extra = {key: pa.infer_type([value]) for key, value in cell.further.items() if kind == "trials"}
            table = pa.Table.from_pylist(rows, pa.schema(types | extra))
            pq.write_table(table, self.storage / name / kind / part, compression="zstd")
        return part


RUN = {
    "started_at": "2025-01-02T03:04:05+00:00",
    "commit": "0123abc",
    "packages": {"ray": "2.55.0", "torch": "2.11.0"},
    "data_sha256": "ab" * 32,
    "machine": {"cpu": "a core", "cores": 2},
    "scheduler": "asha",
}


def trial_row(study: str, cell: Cell, index: int) -> dict[str, Any]:
    status = cell.status if isinstance(cell.status, str) else cell.status[index]
    accuracy = cell.test[index]
    metrics = {
        "val_loss": 0.5,
        "val_accuracy": cell.val[index] if cell.val else 0.9,
        "test_accuracy": accuracy,
        "test_digit_accuracy": 0.95,
        "best_test_accuracy": accuracy,
        "best_test_digit_accuracy": 0.95,
        "best_epoch": cell.epochs,
    }
    return {
        "study": study,
        "cell_id": cell.cell_id,
        "trial_id": f"{cell.cell_id}-{cell.first_seed + index}",
        **cell.settings,
        "seed": cell.first_seed + index,
        "status": status,
        "epochs": cell.epochs,
        "train_time_s": 1.5,
        "device": "cpu",
        "error": "RuntimeError: out of luck" if status == "failed" else None,
    } | ({} if status == "failed" else metrics)


def epoch_rows(cell: Cell, index: int) -> list[dict[str, Any]]:
    last = cell.test[index]
    return [
        {
            "cell_id": cell.cell_id,
            "trial_id": f"{cell.cell_id}-{cell.first_seed + index}",
            "seed": cell.first_seed + index,
            "epoch": epoch,
            "learning_rate": cell.learning_rate,
            "train_loss": 1 / epoch,
            "val_loss": 1 / epoch,
            **dict.fromkeys(
                ("val_accuracy", "test_accuracy", "test_digit_accuracy"), 0.5 + (last - 0.5) * epoch / cell.epochs
            ),
        }
        for epoch in range(1, cell.epochs + 1)
    ]


@pytest.fixture
def make_study(tmp_path: Path) -> StudyBuilder:
    """Return a builder; ``make_study([{"test": [0.8, 0.9]}], seeds=2)`` gives ``(storage, name)``."""
    return StudyBuilder(tmp_path / "results")
