"""Functions that train, one for each thing that users' code does."""

import contextlib
import random
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from trainables import FunctionSettings, Metric, get_random_states, set_random_states


class Settings(FunctionSettings):
    metrics: ClassVar = (Metric("rmse", "min", "mg/dl"), Metric("r2"), Metric("bias"))
    rate: float = 0.1
    folder: str = ""


def drawn():
    """A number that depends on the state of every global generator."""
    return random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002


def walk(settings: Settings, seed: int):
    """Draw from all generators; seeds converge at different epochs."""
    place = drawn()
    for _ in range(2 + seed):
        place += settings.rate * drawn()
        yield {"train_rmse": place, "val_rmse": torch.tensor([place]), "val_r2": np.float32(0.25), "test_rmse": 3}


def walk_by_checkpoint(settings: Settings, seed: int, checkpoint: Path):
    """Save every second epoch, and go on from there."""
    place, first = drawn(), 1
    if (checkpoint / "last.pt").exists():
        state = torch.load(checkpoint / "last.pt")
        place, first = state["place"], state["epoch"] + 1
        set_random_states(state["random"])
    for epoch in range(first, settings.max_epochs + 1):
        place += drawn()
        if epoch % 2 == 0:
            torch.save({"place": place, "epoch": epoch, "random": get_random_states()}, checkpoint / "last.pt")
        yield {"epoch": epoch, "val_rmse": place}
        if epoch == 5 + seed:
            return


def raises_in_epoch_3_of_seed_1(settings: Settings, seed: int):
    for epoch in range(1, 5):
        if (epoch, seed) == (3, 1):
            raise ZeroDivisionError("no examples\nare left")
        yield {"val_rmse": epoch}


def hangs_in_seed_1(settings: Settings, seed: int):
    yield {"val_rmse": 1}
    while seed == 1:
        time.sleep(1)
    yield {"val_rmse": 2}


def hangs_behind_an_except(settings: Settings, seed: int):
    yield {"val_rmse": 1}
    with contextlib.suppress(ZeroDivisionError):
        time.sleep(60)


def one_yield(settings: Settings, seed: int):
    yield {"val_rmse": seed, "val_r2": float("nan"), "test_r2": float("inf")}


def no_yield(settings: Settings, seed: int):
    if settings.max_epochs < 0:
        yield {}


def without_gradients_at_its_yield(settings: Settings, seed: int):
    weight = torch.ones(1, requires_grad=True)
    for _ in range(3):
        (weight * drawn()).sum().backward()
        with torch.no_grad():
            yield {"val_rmse": weight.grad}


def without_gradients_by_inference_mode(settings: Settings, seed: int):
    weight = torch.ones(1, requires_grad=True)
    for _ in range(3):
        (weight * drawn()).sum().backward()
        with torch.inference_mode():
            yield {"val_rmse": weight.grad}


def prints(settings: Settings, seed: int):
    print("a line that is no JSON")
    yield {"val_rmse": 1, "val_r2": 1, "train_bias": 0}


def holds_a_file_open(settings: Settings, seed: int):
    with (Path(settings.folder) / f"{seed}.txt").open("w") as file:
        try:
            for epoch in range(1, 100):
                yield {"val_rmse": epoch}
        finally:
            file.write("cleaned up")


def fails_at_its_end(settings: Settings, seed: int):
    try:
        for _ in range(10):
            yield {"val_rmse": 1}
    finally:
        raise OSError("the disk is full")


def leaves_by_exit(settings: Settings, seed: int):
    yield {"val_rmse": 1}
    raise SystemExit("no GPU")
