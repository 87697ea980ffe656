"""The loop: cells and seeds in, epoch records out. Read ``Training.__next__`` first, one epoch."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Self

import torch
from torch import Tensor

from trainables.config import CellSettings
from trainables.engine.evaluation import evaluate
from trainables.engine.examples import StackedSplit
from trainables.engine.model import Model, evaluator_of
from trainables.engine.optimiser import Row, Stack
from trainables.engine.record import EpochRecord, Status
from trainables.engine.steps import Steps


class Training(Iterator[list[EpochRecord]]):
    """The training of all seeds of some cells as one stack; each item is an epoch.

    An item holds one record for every row that trained in that epoch, in the order given. A row
    ends when its status is no longer ``running``. ``model`` is built for one of the cells,
    ``pool`` is what it loads, and ``idle_share`` the share of rows that may have ended and still
    be computed, without records. Raises ValueError if the cells make no stack (``check_stack``).
    """

    def __init__(
        self,
        model: Model,
        cells: Mapping[CellSettings, Sequence[int]],
        pool: Any,
        device: torch.device | str = "cpu",
        idle_share: float = 0.0,
    ) -> None:
        self.settings = check_stack(cells)
        self.model = model
        self.epoch = 0
        self._cells = {cell.cell_id: cell for cell in cells}
        self._pool = pool
        self._device = torch.device(device)
        self._idle_share = idle_share

        rows = [Row(cell.cell_id, seed) for cell, seeds in cells.items() for seed in seeds]
        parameters = model.initial([row.seed for row in rows], self._device)
        cells_of_rows = {row: self._cells[row.cell_id] for row in rows}
        self.stack = Stack.start(cells_of_rows, parameters, getattr(model, "frozen", None))
        self._load_examples()
        self._prepare_steps()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are still in training."""
        return tuple(compress(self.stack.rows, self.stack.running))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[EpochRecord]:
        """Train and evaluate one epoch, and let every row that is to end end."""
        if not self.rows:
            raise StopIteration
        started = time.perf_counter()
        learning_rate = self.stack.learning_rates(self.epoch)
        train_loss = self.train_epoch()
        self.epoch += 1

        # Validation decides how each row goes on; the test is only recorded.
        answer = evaluator_of(self.model, self.stack.parameters, self._examples.train)
        columns = {"learning_rate": learning_rate, "train_loss": train_loss}
        validation = evaluate(self.model, answer, self._examples.validation, self._varied)
        columns |= {f"val_{name}": value for name, value in validation.items()}
        if self._examples.test is not None:
            test = evaluate(self.model, answer, self._examples.test, self._varied)
            columns |= {f"test_{name}": value for name, value in test.items()}
        statuses = self._judge(validation["loss"])
        columns |= self._evaluate_ends(statuses)
        time_s = (time.perf_counter() - started) / len(self.rows)

        # One transfer per column: single values of a tensor are slow to read.
        of_rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        records = []
        for row, status, own in zip(self.stack.rows, statuses, of_rows, strict=True):
            if status is not None:  # a row without a status ended before
                figures = dict(zip(columns, own, strict=True))
                error = _diverged(figures["val_loss"], self.epoch) if status == "failed" else None
                records.append(EpochRecord(*row, self.epoch, figures, time_s, status, error))
        self._go_on_with([status == "running" for status in statuses])
        return records

    def close(self) -> None:
        """Hold nothing open: the adapter closes every training that it leaves."""

    def train_epoch(self) -> Tensor:
        """Take one pass over the examples; return the mean loss ``[K]`` (float64, CPU)."""
        return self._steps.take_epoch(self.epoch, self.settings.batch_size)

    def drop(self, cell_id: str) -> None:
        """End the training of a cell's rows where they are, without a record."""
        rows = zip(self.stack.rows, self.stack.running, strict=True)
        self._go_on_with([running and row.cell_id != cell_id for row, running in rows])

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state, to continue with the same bits."""
        return {"epoch": self.epoch, **self.stack.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the training of the same cells was when ``state_dict`` was called."""
        self.epoch = state["epoch"]
        self.stack = self.stack.restored(state)
        self._load_examples()
        self._prepare_steps()

    def _load_examples(self) -> None:
        # The cells of a stack have the same settings of data: a seed's examples serve all of them.
        seeds = [row.seed for row in self.stack.rows]
        distinct = list(dict.fromkeys(seeds))
        drawn = [self.model.draw(self._pool, self.settings, seed) for seed in distinct]
        self._examples = StackedSplit.of(drawn, self._device)
        if seeds != distinct:
            places = torch.tensor([distinct.index(seed) for seed in seeds], device=self._device)
            self._examples = self._examples.keep(places)

    def _prepare_steps(self) -> None:
        dropout = self._setting_of_rows("dropout")
        own = {"learning_rate", "dropout"}  # the engine's: a model's losses take the others
        names = [name for name in self.settings.varied_in_a_stack if name not in own]
        self._varied = {name: self._setting_of_rows(name) for name in names}
        self._steps = Steps(self.model, self.stack, self._examples.train, dropout, self._varied)

    def _setting_of_rows(self, name: str) -> Tensor:
        """Return a setting of each row's cell, ``[K]`` (float64); 0 if its model has none."""
        values = [getattr(self._cells[row.cell_id], name, 0.0) for row in self.stack.rows]
        return torch.tensor(values, dtype=torch.float64, device=self._device)

    def _judge(self, val_loss: Tensor) -> list[Status | None]:
        """Take in losses ``[K]``; return how each row goes on, None if it had ended."""
        stopped = self.stack.end_epoch(self.epoch, val_loss)
        last = self.epoch == self.settings.max_epochs
        judged = zip(self.stack.running, val_loss.isfinite().tolist(), stopped.tolist(), strict=True)
        return [_status(finite, last, stop) if running else None for running, finite, stop in judged]

    def _evaluate_ends(self, statuses: Sequence[Status | None]) -> dict[str, Tensor]:
        """Return metrics on training examples, each ``[K]``: NaN except for rows that end."""
        ending = [place for place, status in enumerate(statuses) if status not in ("running", None)]
        if not ending:
            return {}
        # The training part is the largest, so only the rows that need it are evaluated on it.
        places = torch.tensor(ending, dtype=torch.int64)
        index = places.to(self._device)
        train = self._examples.train.keep(index)
        answer = evaluator_of(self.model, self.stack.parameters.detach()[index], train)
        varied = {name: values[index] for name, values in self._varied.items()}
        columns = {}
        for name, found in evaluate(self.model, answer, train, varied).items():
            if name != "loss":  # the loss of an epoch is that of its steps
                columns[f"train_{name}"] = torch.full((len(statuses),), math.nan, dtype=torch.float64)
                columns[f"train_{name}"][places] = found
        return columns

    def _go_on_with(self, running: list[bool]) -> None:
        """Set which rows are running, and drop the others once they are too many."""
        self.stack.running = running
        places = list(compress(range(len(running)), running))
        idle = len(running) - len(places)
        # A smaller stack is faster, but a GPU has to capture its graph again.
        if not idle or (places and idle < self._idle_share * len(running)):
            return
        self.stack = self.stack.keep(places)
        index = torch.tensor(places, dtype=torch.int64, device=self._device)
        self._examples = self._examples.keep(index)
        self._prepare_steps()


def _diverged(val_loss: float, epoch: int) -> str:
    return f"the validation loss is {val_loss} after epoch {epoch}; a lower learning rate may help"


def _status(finite: bool, last: bool, stopped: bool) -> Status:
    if not finite:
        return "failed"
    if last:
        return "completed"
    return "converged" if stopped else "running"


def check_stack(cells: Mapping[CellSettings, Sequence[int]]) -> CellSettings:
    """Return the first cell, which stands for all; raise ValueError if they make no stack."""
    if not cells:
        raise ValueError("no cell to train: expected at least one")
    for seeds in cells.values():
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {list(seeds)}")
    first = next(iter(cells))
    for cell in cells:
        for name, value in first.model_dump().items():
            if name not in first.varied_in_a_stack and (other := getattr(cell, name)) != value:
                raise ValueError(
                    f"{name} {value} and {other} in one stack: expected cells that differ only in "
                    f"{', '.join(first.varied_in_a_stack)}; {name} needs two stacks"
                )
    return first
