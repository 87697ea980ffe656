"""The training of one seed by a function: a generator, of which each yield is an epoch."""

import inspect
import io
import math
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trainables.config import TrainingSettings
from trainables.engine.record import EpochRecord
from trainables.functions.figures import YieldError, read_figures
from trainables.functions.random_states import RandomStates
from trainables.functions.signature import takes_checkpoint
from trainables.functions.time_limit import time_limit


@dataclass(frozen=True)
class Limits:
    """What decides how a seed ends: its ``objective``, such as "val_rmse", and the seconds of an epoch."""

    objective: str
    epoch_limit_s: float


class SeedTraining:
    """Trains a cell with one seed. Only its own code draws from its random states.

    Whatever the function raises is the reason of a ``failed`` record. A function with the parameter
    ``checkpoint`` gets an empty folder of its own; after ``load`` the folder has what it had at ``save``.
    """

    def __init__(self, function: Callable[..., Any], cell: TrainingSettings, seed: int, limits: Limits) -> None:
        self._function, self._cell, self._seed, self._limits = function, cell, seed, limits
        self._generator: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._last: EpochRecord | None = None
        self.load({})

    def train_to(self, epoch: int) -> list[EpochRecord]:
        """Train until an epoch is reached or the training ends; return the records, at least one.

        They are several only after ``load`` of a folder that is older than the last record.
        """
        records = [self._next_epoch()]
        while records[-1].status == "running" and records[-1].epoch < epoch:
            records.append(self._next_epoch())
        # The first reason counts; a training whose own end fails has failed too.
        if records[-1].status != "running" and (problem := self._end()):
            error = records[-1].error or problem
            records[-1] = replace(records[-1], status="failed", error=error)
        return records

    def save(self) -> dict[str, Any]:
        """Return what ``load`` needs: the folder's content, or nothing without a folder."""
        if self._folder is None:
            return {}
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(self._folder.name, ".")
        return {"last": self._last and asdict(self._last), "folder": content.getvalue()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Begin again, from the folder that was saved, or without one from the beginning."""
        self.close()
        self._states = RandomStates(self._seed)
        last = saved.get("last")
        self._last = EpochRecord(**last) if last else None
        self._resumes = bool(last)
        if takes_checkpoint(self._function):
            self._folder = tempfile.TemporaryDirectory(prefix=f"seed-{self._seed}-")
            if "folder" in saved:
                with tarfile.open(fileobj=io.BytesIO(saved["folder"])) as archive:
                    archive.extractall(self._folder.name, filter="data")

    def close(self) -> None:
        """End the generator where it is, so that its ``finally`` and ``with`` run."""
        # Its figures are not asked for any more, so what it raises fails nothing; it is in the worker's log.
        self._end()

    def _next_epoch(self) -> EpochRecord:
        started = time.perf_counter()
        due = 1 if self._last is None else self._last.epoch + 1
        record = EpochRecord(self._cell.cell_id, self._seed, due, {}, 0.0, "running")
        try:
            with self._in_force(due):
                yielded = next(self._running())
            figures, number = read_figures(yielded, type(self._cell))
            record = replace(record, figures=figures, epoch=self._number(number, due))
            record = replace(record, **self._status(record))
        except StopIteration:
            # The end says nothing new: the last record is reported again, with the status.
            if self._last is None:
                record = replace(record, status="failed", error="the function ended before its first yield")
            else:
                record = replace(self._last, status="converged")
                started -= self._last.train_time_s
        except (Exception, SystemExit) as error:  # whatever the author's own code raises
            record = replace(record, status="failed", error=self._in_words(error, due))
        self._last = replace(record, train_time_s=time.perf_counter() - started)
        self._resumes = False
        return self._last

    def _running(self) -> Iterator[Any]:
        """Return the generator; the function is called at its first epoch."""
        if self._generator is None:
            folder = {"checkpoint": Path(self._folder.name)} if self._folder else {}
            self._generator = self._function(self._cell, self._seed, **folder)
        generator: Iterator[Any] = self._generator
        return generator

    def _number(self, number: int | None, due: int) -> int:
        """Return the number of an epoch, whether the yield says it or not; raise YieldError."""
        if number is None:
            # A state in the folder may be older than the last record: only the function knows.
            if self._folder is not None:
                raise YieldError("it yields no epoch: a function with a checkpoint yields 'epoch', 1 for the first")
            return due
        first = 1 if self._resumes else due
        if not first <= number <= due:
            expected = f"{first} to {due}" if first < due else str(due)
            raise YieldError(f"it yields epoch {number}: expected {expected}")
        return number

    def _status(self, record: EpochRecord) -> dict[str, Any]:
        objective = self._limits.objective
        if math.isnan(record.figure(objective)):
            found = "is not a finite number" if objective in record.figures else "is not yielded"
            return {"status": "failed", "error": f"epoch {record.epoch}: {objective}, the objective, {found}"}
        return {"status": "completed" if record.epoch >= self._cell.max_epochs else "running"}

    def _end(self) -> str | None:
        """End the generator and remove the folder; return in words what the generator raised."""
        generator, folder = self._generator, self._folder
        self._generator = self._folder = None
        epoch = self._last.epoch if self._last else 1
        try:
            with folder or nullcontext():
                if generator is not None:
                    with self._in_force(epoch):
                        generator.close()
        except (Exception, SystemExit) as error:
            return self._in_words(error, epoch)
        return None

    @contextmanager
    def _in_force(self, epoch: int) -> Iterator[None]:
        with self._states.in_force(), time_limit(self._limits.epoch_limit_s, epoch):
            yield

    def _in_words(self, error: BaseException, epoch: int) -> str:
        """Return the reason in a line; the worker's standard error has the whole."""
        if isinstance(error, YieldError):
            return f"epoch {epoch}: {error}"
        traceback.print_exception(error)
        own = inspect.unwrap(self._function).__code__.co_filename
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
        place = f" ({Path(own).name}, line {lines[-1]})" if lines else ""
        text = (str(error).strip() or "no message").splitlines()[0]
        return f"epoch {epoch}: {type(error).__name__}: {text}{place}"
