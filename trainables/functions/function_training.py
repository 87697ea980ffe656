"""Cells and seeds of a function in, epoch records out: the seeds take turns, epoch by epoch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from trainables.engine.record import EpochRecord

Row = tuple[str, int]  # a cell's id, and a seed


class Seed(Protocol):
    """The training of one seed, in this process (``SeedTraining``) or in another."""

    def begin(self, epoch: int) -> Callable[[], list[EpochRecord]]:
        """Return the call that gives the records of a training to that epoch."""

    def save(self) -> dict[str, Any]:
        """Return what ``load`` needs, nothing if it begins again."""

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""

    def close(self) -> None:
        """End it where it is."""


class FunctionTraining(Iterator[list[EpochRecord]]):
    """The training of all seeds of some cells by a function; each item is an epoch.

    An item holds a record for each seed that trained in that epoch, the seeds of a cell together. A
    seed ends when its status is no longer ``running``: at the end of the function, which reports its
    last record again, it is ``converged``, and at ``max_epochs`` ``completed``.
    """

    def __init__(self, seeds: Mapping[Row, Seed]) -> None:
        self.epoch = 0
        self._seeds = dict(seeds)
        self._running = dict(seeds)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The seeds that are still in training, each with its cell."""
        return tuple(self._running)

    def __next__(self) -> list[EpochRecord]:
        """Train one epoch of each seed."""
        if not self._running:
            raise StopIteration
        # In processes of their own all seeds train now; here each does when it is asked for its records.
        begun = {row: seed.begin(self.epoch + 1) for row, seed in self._running.items()}
        records: list[EpochRecord] = []
        for row, records_of in begun.items():
            records += records_of()
            if records[-1].status != "running":
                del self._running[row]
        self.epoch = max(self.epoch, *(record.epoch for record in records))
        return records

    def drop(self, cell_id: str) -> None:
        """End the training of a cell's seeds where they are, without a record."""
        for row in self.rows:
            if row[0] == cell_id:
                self._running.pop(row).close()

    def state_dict(self) -> dict[str, Any]:
        """Return which seeds still train, and what their functions have saved."""
        return {"epoch": self.epoch, "running": {row: seed.save() for row, seed in self._running.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the functions can; those that cannot begin again, and report their epochs again."""
        self.close()
        for row, saved in state["running"].items():
            self._running[row] = self._seeds[row]
            self._running[row].load(saved)
        self.epoch = state["epoch"] if all(state["running"].values()) else 0

    def close(self) -> None:
        """End all generators where they are."""
        for seed in self._seeds.values():
            seed.close()
        self._running = {}
