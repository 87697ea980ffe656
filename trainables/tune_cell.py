"""The Tune Trainable around training.py: one Tune trial trains all seeds of a cell, one step an epoch."""

import dataclasses
import faulthandler
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pyarrow.fs import FileSystem, FileType
from ray import tune

from trainables.config import CellConfig
from trainables.memory import keep_freed_memory
from trainables.pairs import load_pool
from trainables.training import EpochRecord, Training

GRACE_S = 10.0  # a signal's handler runs only between two steps of Python, not within native code


class StorageNotSharedError(Exception):
    """This node does not see what the driver has written to the storage."""


class CellTrainable(tune.Trainable):
    """Trains a cell. Its Tune config holds:

    ``cell`` (settings of a CellConfig), ``seeds`` (list of int), ``device`` ("cpu" or "cuda"), ``threads`` (of the
    CPU), ``data_dir`` (folder of the MNIST files, or None), ``epoch_limit_s`` (seconds) and ``marker`` (a
    pyarrow.fs.FileSystem and the path of a file in it that this node has to see before it trains, or None). Resources
    are the caller's to set, by ``tune.with_resources``. Every result holds ``val_accuracy``, the mean over all seeds
    of the cell (one that has ended counts with its last value), and ``records``, the epoch's records as plain
    dictionaries.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Build the training; see the class for the config."""
        keep_freed_memory()
        torch.backends.cudnn.deterministic = True  # the same stack on the same device gives the same bits
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another cell in the same process, so that Python, PyTorch and the digits are loaded only once."""
        torch.set_num_threads(new_config["threads"])
        cell = CellConfig.model_validate(new_config["cell"])
        pool = load_pool(cell.data, new_config["data_dir"])
        self._training = Training({cell: new_config["seeds"]}, pool, new_config["device"])
        self._epoch_limit_s = float(new_config["epoch_limit_s"])
        self._val_accuracy: dict[int, float] = {}
        self._marker: tuple[FileSystem, str] | None = new_config["marker"]
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; ``done`` when the last seed has ended.

        Raises TimeoutError beyond the epoch limit, and StorageNotSharedError.
        """
        if self._marker is not None:
            _check_shared(*self._marker)
            self._marker = None
        with _time_limit(self._epoch_limit_s, self._training.epoch + 1):
            records = next(self._training, [])  # none are left where the checkpoint of an ended training was restored
        self._val_accuracy.update({record.seed: record.val_accuracy for record in records})
        return {
            "epoch": self._training.epoch,
            "val_accuracy": sum(self._val_accuracy.values()) / len(self._val_accuracy),
            "records": [_as_dict(record) for record in records],
            "done": not self._training.rows,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the state of the training, tensors and plain numbers only."""
        state = {"training": self._training.state_dict(), "val_accuracy": self._val_accuracy}
        torch.save(state, Path(checkpoint_dir, "training.pt"))

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        """Go on from a checkpoint with the bits of a training that never stopped."""
        if not isinstance(checkpoint, str):
            raise TypeError(f"expected the checkpoint's folder, got {type(checkpoint).__name__}")
        state = torch.load(Path(checkpoint, "training.pt"), weights_only=True, map_location="cpu")
        self._training.load_state_dict(state["training"])
        self._val_accuracy = state["val_accuracy"]


def _check_shared(filesystem: FileSystem, path: str) -> None:
    if filesystem.get_file_info(path).type != FileType.File:
        raise StorageNotSharedError(
            f"the node {socket.gethostname()} does not see {path}, which the driver has written"
        )


@contextmanager
def _time_limit(seconds: float, epoch: int) -> Iterator[None]:
    """Raise TimeoutError in here after some seconds; where it does not end in GRACE_S more, end the process."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"epoch {epoch} took longer than {seconds:g} s, the epoch limit")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def _as_dict(record: EpochRecord) -> dict[str, Any]:
    return {**dataclasses.asdict(record), "error": record.error}
