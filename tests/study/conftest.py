"""Made results for the tests of the store and what reads it; real trainings are in test_runs.py."""

import math
from datetime import UTC, datetime

import pytest

from study.rows import CellResult
from trainables.config import CellConfig


def record(seed, epoch, status="running", val_loss=1.0, val_accuracy=0.5, test_accuracy=0.5, error=None):
    """An epoch record as the Tune trainable reports it."""
    return {
        "seed": seed,
        "epoch": epoch,
        "learning_rate": 1e-3,
        "train_loss": 0.9,
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "test_accuracy": test_accuracy,
        "test_digit_accuracy": 0.25,
        "test_accuracy_by_probability": math.nan,
        "train_accuracy": math.nan if status == "running" else 0.875,
        "train_digit_accuracy": math.nan if status == "running" else 0.9375,
        "train_time_s": 0.5,
        "status": status,
        "error": error,
    }


@pytest.fixture
def make_result():
    """Build the result of a cell from its records; the seeds are those of the records unless given."""

    def build(records, cell=None, seeds=None, ended="pruned", error=None):
        return CellResult(
            cell=cell or CellConfig(),
            seeds=tuple(seeds or sorted({r["seed"] for r in records})),
            records=tuple(records),
            ended=ended,
            error=error,
            device="cpu",
            started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            finished_at=datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
        )

    return build
