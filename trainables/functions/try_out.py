"""One epoch of a function, to find its mistakes before anything trains."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from trainables.config import TrainingSettings, columns_of
from trainables.functions.function_training import FunctionTraining
from trainables.functions.seed_training import Limits, SeedTraining


def try_out(function: Callable[..., Any], cell: TrainingSettings, limits: Limits) -> None:
    """Train one epoch of two seeds; raise ValueError if one fails or lacks a metric."""
    seeds = {}
    for seed in (0, 1):
        seeds[cell.cell_id, seed] = SeedTraining(function, cell, seed, limits)
    training = FunctionTraining(seeds)
    # What the function prints is no part of a plan, which a program may read.
    with redirect_stdout(sys.stderr):
        try:
            records = next(training)
        finally:
            training.close()
    for record in records:
        if record.error is not None:
            raise ValueError(f"with seed {record.seed}, {record.error}")
    yielded = records[0].figures.keys()
    for metric in cell.metrics:
        names = columns_of([metric], "train", "val", "test")
        if yielded.isdisjoint(names):
            raise ValueError(f"its Settings have the metric {metric.name}, but it yields none of {', '.join(names)}")
