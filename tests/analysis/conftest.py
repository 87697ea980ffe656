"""A real small store, written as a run writes it: Parquet parts and a study.json."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.load import StudyData, load_study
from analysis.output.page import FORMATS, write_page
from analysis.parts import part_name
from analysis.report import report_page
from analysis.stored import FINISHED

PROTOCOL = {"data": "mnist5k", "max_epochs": 80}
METRICS = (
    *("val_loss", "val_accuracy", "test_accuracy", "test_digit_accuracy", "best_test_accuracy"),
    *("train_accuracy", "train_digit_accuracy", "test_accuracy_by_probability"),
)


class StoreBuilder:
    """Writes a study cell by cell; ``load`` writes study.json and reads the study back."""

    def __init__(self, storage: Path, name: str = "abc", seeds: int = 3) -> None:
        self.storage, self.name, self.seeds = storage, name, seeds
        self.folder = storage / name
        self.cells: list[dict[str, Any]] = []
        self.roles = {"sharing": "scientific", "dropout": "scientific", "aux_weight": "tuned", "learning_rate": "fixed"}
        for kind in ("trials", "epochs"):
            (self.folder / kind).mkdir(parents=True, exist_ok=True)

    def plan(self, aux_weight: float = 0.0, sharing: bool = False, dropout: float = 0.0, **settings: Any) -> str:
        """Add a cell without trials; return its id."""
        cell_id = f"cell{len(self.cells):02d}"
        cell = {"cell_id": cell_id, "model": "comparator", "sharing": sharing, "aux_weight": aux_weight}
        self.cells.append(cell | {"dropout": dropout, "learning_rate": 0.001} | PROTOCOL | settings)
        return cell_id

    def cell(
        self,
        test: Sequence[float | None],
        val: Sequence[float | None] | None = None,
        *,
        status: str = "completed",
        **settings: Any,
    ) -> str:
        """Add a cell with a trial a test accuracy; return its id."""
        cell_id = self.plan(**settings)
        self.part(cell_id, test, val, status=status)
        return cell_id

    def part(
        self,
        cell_id: str,
        test: Sequence[float | None],
        val: Sequence[float | None] | None = None,
        *,
        status: str = "completed",
        first_seed: int = 0,
        epochs: int = 2,
    ) -> Path:
        """Write one part of a cell: its epochs file, then its trials file; return the latter."""
        trials, curves = [], []
        for index, accuracy in enumerate(test):
            seed = first_seed + index
            row: dict[str, Any] = {"cell_id": cell_id, "trial_id": f"{cell_id}-{seed:04d}", "seed": seed}
            curves += [row | {"epoch": epoch, "train_loss": 1 / epoch} for epoch in range(1, epochs + 1)]
            metrics = dict.fromkeys(METRICS, accuracy)
            metrics["val_accuracy"] = (val or test)[index]
            error = "RuntimeError: worker lost" if status == "failed" else None
            trials.append(row | metrics | {"status": status, "epochs": epochs, "error": error})
        schema = pa.schema(
            {
                **dict.fromkeys(("cell_id", "trial_id"), pa.string()),
                "seed": pa.int64(),
                **dict.fromkeys(METRICS, pa.float64()),
                "status": pa.string(),
                "epochs": pa.int32(),
                "error": pa.string(),
            }
        )
        ending = "" if status in FINISHED else f"-{status}"
        name = part_name(cell_id, [row["trial_id"] for row in trials], ending)
        pq.write_table(pa.Table.from_pylist(curves), self.folder / "epochs" / name)
        pq.write_table(pa.Table.from_pylist(trials, schema), self.folder / "trials" / name)
        return self.folder / "trials" / name

    def write_info(self, **changes: Any) -> Path:
        run = {
            "started_at": "2026-01-02T03:04:05+00:00",
            "commit": "1234abcd",
            "packages": {"torch": "2.11.0", "ray": "2.55.0"},
            "device": "cpu",
        }
        info = {
            "schema": 1,
            "study": self.name,
            "grid": "full",
            "roles": self.roles,
            "cells": self.cells,
            "seeds": list(range(self.seeds)),
            "protocol": PROTOCOL,
            "runs": [run],
        }
        path = self.folder / "study.json"
        path.write_text(json.dumps(info | changes))
        return path

    def load(self) -> StudyData:
        self.write_info()
        return load_study(str(self.storage), self.name)


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "studies")


@pytest.fixture
def new_store(tmp_path: Path) -> Callable[..., StoreBuilder]:
    """Start further studies in the same storage."""
    return lambda **settings: StoreBuilder(tmp_path / "studies", **settings)


def with_info(data: StudyData, **changes: Any) -> StudyData:
    """Return a study with other content of its study.json."""
    return replace(data, info=replace(data.info, **changes))


def write_report(
    data: StudyData, related: Mapping[str, StudyData], out: Path, formats: Collection[str] = FORMATS
) -> list[Path]:
    """Write the files of a study's report into a folder, made if missing; return their paths."""
    return write_page(report_page(data, related), out, formats)
