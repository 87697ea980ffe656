"""Functions that runs of tests train; a run imports a copy of this file from its own folder."""

import os
import random
import time
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from trainables import FunctionSettings, Metric

HOW = Literal["well", "raises", "hangs", "nan", "tensor", "prints", "draws", "once", "never"]


class Settings(FunctionSettings):
    metrics: ClassVar = (Metric("rmse", "min", "mg/dl"), Metric("r2"), Metric("bias"))
    how: HOW = "well"
    level: float = 1.0
    wait_s: float = 0.0
    folder: str = ""


def train(settings: Settings, seed: int):
    """Do in seed 1 what people's code does."""
    for epoch in range(1, settings.max_epochs + 1):
        place = settings.level + random.random() / epoch + np.random.rand()  # noqa: NPY002
        value = torch.tensor([place]) if settings.how == "well" else place
        how = settings.how if (seed, epoch) == (1, 3) else "well"
        if how == "raises":
            raise ZeroDivisionError("no examples are left")
        if how == "hangs":
            time.sleep(60)
        if how == "nan":
            value = float("nan")
        if how == "tensor":
            value = torch.ones(2)
        if how == "prints":
            print("a line of its own")
        if how == "draws":
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002
            torch.manual_seed(0)
        if settings.how != "never":
            yield {"train_rmse": place, "val_rmse": value, "val_r2": 0.5, "val_bias": np.float32(0)}
        if settings.how == "once":
            return


def open_file(settings: Settings, seed: int):
    """Hold a file open while it trains; the level alone decides how good it is."""
    with (Path(settings.folder) / f"{settings.level}-{seed}.txt").open("w") as file:
        try:
            for epoch in range(settings.max_epochs):
                time.sleep(settings.wait_s)
                yield {"val_rmse": settings.level + random.random() / 100 - epoch / 1000}
        finally:
            file.write("closed")


def saving(settings: Settings, seed: int, checkpoint: Path):
    """Save after each epoch, and go on from there; write down where each process began."""
    place, first = random.random(), 1
    if (checkpoint / "last.pt").exists():
        place, epoch = torch.load(checkpoint / "last.pt")
        first = epoch + 1
    with (Path(settings.folder) / "begun.txt").open("a") as file:
        file.write(f"{seed} {first} {os.getpid()}\n")
    for epoch in range(first, settings.max_epochs + 1):
        time.sleep(settings.wait_s)
        place = (place * 997 + settings.level) % 1
        torch.save((place, epoch), checkpoint / "last.pt")
        yield {"epoch": epoch, "val_rmse": 1 + place, "test_rmse": place}


def noisy(settings: Settings, seed: int):
    """Give the level and noise, from the seed and the level alone."""
    yield {"val_rmse": settings.level + np.random.default_rng([seed, round(1_000 * settings.level)]).normal()}
