"""Cells and seeds of a function in, epoch records out: the seeds take turns by epoch."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trainables.engine.record import EpochRecord
from trainables.functions.seed_training import SeedTraining

Row = tuple[str, int]  # a cell's id, and a seed


class FunctionTraining(Iterator[list[EpochRecord]]):
    """The training of all seeds of some cells by a function; each item is an epoch.

    An item holds a record for each seed that trained in that epoch, the seeds of a cell together. A
    seed ends when its status is no longer ``running``: at the end of the function, which reports its
    last record again, it is ``converged``, and at ``max_epochs`` ``completed``.
    """

    def __init__(self, seeds: Mapping[Row, SeedTraining]) -> None:
        self.epoch = 0
        self._seeds = seeds
        self._running = list(seeds)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The seeds that are still in training, each with its cell."""
        return tuple(self._running)

    def __next__(self) -> list[EpochRecord]:
        """Train one epoch of each seed."""
        if not self._running:
            raise StopIteration
        records: list[EpochRecord] = []
        for row, own in self._call(self.rows, "train_to", self.epoch + 1):
            records += own
            if own[-1].status != "running":
                self._running.remove(row)
        self.epoch = max(self.epoch, *(record.epoch for record in records))
        return records

    def drop(self, cell_id: str) -> None:
        """End the training of a cell's seeds where they are, without a record."""
        for row in self.rows:
            if row[0] == cell_id:
                self._running.remove(row)
                self._end([row])

    def state_dict(self) -> dict[str, Any]:
        """Return which seeds still train, and what their functions have saved."""
        return {"epoch": self.epoch, "running": dict(self._call(self.rows, "save"))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the functions can; those that cannot begin again, and report their epochs again."""
        self.close()
        self._running = list(state["running"])
        for row, saved in state["running"].items():
            self._call([row], "load", saved)
        self.epoch = state["epoch"] if all(state["running"].values()) else 0

    def close(self) -> None:
        """End all generators where they are."""
        self._end(self._seeds)
        self._running = []

    def _call(self, rows: Iterable[Row], method: str, *arguments: Any) -> list[tuple[Row, Any]]:
        """Call a method of SeedTraining for some seeds; return what each gives."""
        return [(row, getattr(self._seeds[row], method)(*arguments)) for row in rows]

    def _end(self, rows: Iterable[Row]) -> None:
        self._call(rows, "close")
