"""What every training reports of an epoch, whatever trains it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["running", "completed", "converged", "failed"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one seed of a cell.

    ``figures`` has ``train_loss``, ``val_loss`` and ``learning_rate`` if the training has them, and
    metrics as ``<part>_<metric>``, in the metric's own scale. A figure that is NaN or absent is
    missing. ``train_time_s`` is this seed's share of the time. ``error`` says why a seed failed.
    """

    cell_id: str
    seed: int
    epoch: int
    figures: Mapping[str, float]
    train_time_s: float
    status: Status
    error: str | None = None

    def figure(self, name: str) -> float:
        """Return a figure, NaN if it is missing."""
        return self.figures.get(name, math.nan)
