"""The loop: cells and their seeds in, epoch records out. No Ray, no files, no printing."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from trainables.config import CellSettings
from trainables.digits.augment import Augmentation
from trainables.digits.normalisation import Moments
from trainables.engine.examples import StackedExamples
from trainables.engine.graphs import GraphedStep
from trainables.engine.layers import dropout_masks
from trainables.engine.optimiser import Patience, Plateau, StackedAdam, keep, tensors_of
from trainables.engine.streams import fold, stream_keys
from trainables.registry import build

EVALUATION_CHUNK = 200  # examples at once: small enough for the activations to stay in cache

Status = Literal["running", "completed", "converged", "failed"]


class Row(NamedTuple):
    """What a row of a stack trains: a seed of the cell with this id."""

    cell_id: str
    seed: int


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a row. Losses are means over examples, accuracies fractions, times seconds of this row's share.

    What is of digits or by probability is NaN where the model has no such thing. The accuracies on the training
    examples, with dropout off, are taken in the epoch in which the row ends, and are NaN before.
    """

    cell_id: str
    seed: int
    epoch: int
    learning_rate: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    test_accuracy: float
    test_digit_accuracy: float
    test_accuracy_by_probability: float
    train_accuracy: float
    train_digit_accuracy: float
    train_time_s: float
    status: Status

    @property
    def error(self) -> str | None:
        """Why the seed failed, or None."""
        if self.status != "failed":
            return None
        return f"the validation loss is {self.val_loss} after epoch {self.epoch}; a lower learning rate may help"


class Evaluation(NamedTuple):
    """Mean loss and accuracies of K replicates, each ``[K]`` (float64, CPU), as EpochRecord names them."""

    loss: Tensor
    accuracy: Tensor
    digit_accuracy: Tensor
    accuracy_by_probability: Tensor


class Training(Iterator[list[EpochRecord]]):
    """The training of all seeds of some cells as one stack; each step of the iterator is an epoch.

    An item holds a record for every row that trained in that epoch, in the order given. A row ends when its status is
    no longer ``running``; the iterator ends with the last one. The cells may differ in
    ``varied_in_a_stack`` alone. ``pool`` is what their model loads.

    ``idle_share`` is the share of the stack's rows that may have ended and still be computed, unheard, before they are
    dropped from it. By default they are dropped at once.
    """

    def __init__(
        self,
        cells: Mapping[CellSettings, Sequence[int]],
        pool: Any,
        device: torch.device | str = "cpu",
        idle_share: float = 0.0,
    ) -> None:
        self.config = _check_stack(cells)
        self._cells = {cell.cell_id: cell for cell in cells}
        self._pool, self._device, self._idle_share = pool, torch.device(device), idle_share
        self.model = build(self.config)
        self.epoch = 0
        rows = [Row(cell.cell_id, seed) for cell, seeds in cells.items() for seed in seeds]
        parameters = self.model.initial([row.seed for row in rows], self._device)
        self.adam = StackedAdam(parameters)
        self.plateau = Plateau.start([self._cells[row.cell_id].learning_rate for row in rows])
        self.patience = Patience.start(len(rows))
        self._seat(rows, [True] * len(rows), parameters)
        self._load_examples()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are still in training."""
        return tuple(row for row, running in zip(self._stack, self._running, strict=True) if running)

    def _seat(self, stack: Sequence[Row], running: Sequence[bool], parameters: Tensor) -> None:
        """Set the rows of the stack, which of them are running, and their parameters ``[K, P]``, streams, settings."""
        self._stack, self._running = tuple(stack), list(running)
        self.parameters = parameters.requires_grad_()
        seeds, cells = [row.seed for row in stack], [self._cells[row.cell_id] for row in stack]
        self._augmentation = Augmentation(self.config, seeds, self._device)
        self._dropout_keys = stream_keys(seeds, "dropout", self._device)
        self._aux_weights, self._dropout = (
            torch.tensor([getattr(cell, name, 0.0) for cell in cells], dtype=torch.float64, device=self._device)
            for name in ("aux_weight", "dropout")
        )
        self._any_dropout = bool(self._dropout.any())
        # What changes from step to step, in tensors that stay where they are.
        self._rates = torch.empty(len(stack), device=self._device)
        self._loss_sums = torch.empty(len(stack), dtype=torch.float64, device=self._device)
        self._step = torch.empty((), dtype=torch.int32, device=self._device)
        self._take_step = GraphedStep(self._train_step) if self._device.type == "cuda" else self._train_step

    def _load_examples(self) -> None:
        drawn = {seed: self.model.draw(self._pool, self.config, seed) for seed in {row.seed for row in self._stack}}
        splits = [drawn[row.seed] for row in self._stack]
        self._train = StackedExamples.of([split.train for split in splits], self._device)
        self._validation = StackedExamples.of([split.validation for split in splits], self._device)
        self._test = StackedExamples.of([split.test for split in splits], self._device)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[EpochRecord]:
        if not self.rows:
            raise StopIteration
        started = time.perf_counter()
        rates = self.plateau.learning_rate
        train_loss = self.train_epoch()
        self.epoch += 1
        answer = self._answering(self.parameters, self._train)
        validation = self._evaluate(answer, self._validation, self._aux_weights)
        test = self._evaluate(answer, self._test, self._aux_weights)
        statuses = self._judge(validation.loss)
        columns = (rates, train_loss, *validation[:2], *test[1:], *self._evaluate_ends(statuses))
        time_s = (time.perf_counter() - started) / len(self.rows)
        records = [
            EpochRecord(*row, self.epoch, *values, time_s, status)  # type: ignore[call-arg]
            for row, values, status in zip(
                self._stack, zip(*(column.tolist() for column in columns), strict=True), statuses, strict=True
            )
            if status is not None
        ]
        self._go_on_with([status == "running" for status in statuses])
        return records

    def train_epoch(self) -> Tensor:
        """Take one pass over the training examples; return the mean loss ``[K]`` (float64, CPU)."""
        order = self._augmentation.order(self.epoch, len(self._train))
        batches = order.split(self.config.batch_size, dim=1)
        self._rates.copy_(self.plateau.learning_rate)
        self._loss_sums.zero_()
        self._step.fill_(self.epoch * len(batches))
        for batch in batches:
            self._take_step(batch)
        return (self._loss_sums / len(self._train)).cpu()

    def _train_step(self, batch: Tensor) -> None:
        """Take a step on the examples at ``batch``, ``[K, B]`` or ``[K, B, 2]``; see ``StackedExamples.batch``.

        The host waits for nothing, all state stays in place.
        """
        inputs, labels = self._train.batch(batch)
        inputs = self._augmentation.changed(inputs, self._step)
        outputs = self.model.forward(self.parameters, inputs, self._masks(batch.shape[1]))
        losses = self.model.losses(outputs, labels, self._aux_weights)
        losses.sum().backward()
        self.adam.step(self.parameters, self._rates)
        self._loss_sums += losses.detach() * batch.shape[1]
        self._step += 1

    def _masks(self, examples: int) -> Tensor | None:
        if not self._any_dropout:
            return None
        keys = fold(self._dropout_keys, self._step)
        return dropout_masks(keys, examples * self.model.mask_units, self._dropout)

    @torch.no_grad()
    def _answering(self, parameters: Tensor, train: StackedExamples) -> Callable[[Tensor], Any]:
        """Return the model of these parameters ``[K, P]`` as it is evaluated: inputs to outputs, dropout off.

        Batch normalisation is by the moments of these replicates' training pairs.
        """
        if not getattr(self.config, "batch_norm", False):
            return lambda inputs: self.model.forward(parameters, inputs, None)
        moments: Moments = {}
        forward: Any = self.model.forward  # of a model that has batch normalisation, which takes the moments too
        answer = partial(forward, parameters, masks=None, moments=moments)
        answer(train.inputs)
        return answer

    @torch.no_grad()
    def _evaluate(self, answer: Callable[[Tensor], Any], examples: StackedExamples, aux_weights: Tensor) -> Evaluation:
        """Evaluate what answers for the replicates on their examples."""
        totals = torch.zeros(4, len(aux_weights), dtype=torch.float64, device=self._device)
        for start in range(0, len(examples), EVALUATION_CHUNK):
            inputs, labels = examples.chunk(start, start + EVALUATION_CHUNK)
            outputs = answer(inputs)
            right = self.model.correct(outputs, labels)
            loss = self.model.losses(outputs, labels, aux_weights) * labels.shape[1]
            none = torch.full_like(loss, math.nan)
            digits = none if right.digits is None else right.digits / 2
            by_probability = none if right.target_by_probability is None else right.target_by_probability
            totals += torch.stack([loss, right.target, digits, by_probability])
        return Evaluation(*(totals / len(examples)).cpu())

    def _evaluate_ends(self, statuses: Sequence[Status | None]) -> Tensor:
        """Return the accuracies on target and digits of the training examples, ``[2, K]``: NaN where no row ends."""
        accuracies = torch.full((2, len(statuses)), math.nan, dtype=torch.float64)
        ends = [i for i, status in enumerate(statuses) if status not in ("running", None)]
        rows = torch.tensor(ends, dtype=torch.int64)
        if ends:
            index = rows.to(self._device)
            parameters, aux_weights = self.parameters.detach()[index], self._aux_weights[index]
            train = self._train.keep(index)
            found = self._evaluate(self._answering(parameters, train), train, aux_weights)
            accuracies[:, rows] = torch.stack([found.accuracy, found.digit_accuracy])
        return accuracies

    def _judge(self, val_loss: Tensor) -> list[Status | None]:
        """Let schedule and patience take in the validation losses ``[K]``; say how each row goes on.

        None stands for a row that had ended before.
        """
        self.plateau.update(val_loss, self.config.plateau_factor, self.config.plateau_patience)
        stopped = self.patience.update(val_loss, self.config.stop_patience)
        judged = zip(self._running, val_loss.isfinite().tolist(), stopped.tolist(), strict=True)
        return [self._status(finite, stop) if running else None for running, finite, stop in judged]

    def _status(self, finite: bool, stopped: bool) -> Status:
        if not finite:
            return "failed"
        if self.epoch == self.config.max_epochs:
            return "completed"
        return "converged" if stopped else "running"

    def drop(self, cell_id: str) -> None:
        """End the training of a cell's rows where they are, without a record."""
        self._go_on_with(
            [running and row.cell_id != cell_id for row, running in zip(self._stack, self._running, strict=True)]
        )

    def _go_on_with(self, running: list[bool]) -> None:
        """Set which rows of the stack are running, and drop the others from it once they are too many."""
        self._running = running
        rows = [i for i, runs in enumerate(running) if runs]
        idle = len(running) - len(rows)
        if not idle or (rows and idle < self._idle_share * len(running)):
            return
        index = torch.tensor(rows, dtype=torch.int64)
        self.plateau, self.patience = keep(self.plateau, index), keep(self.patience, index)
        index = index.to(self._device)
        self.adam = self.adam.keep(index)
        self._train, self._validation, self._test = (
            part.keep(index) for part in (self._train, self._validation, self._test)
        )
        self._seat([self._stack[row] for row in rows], [True] * len(rows), self.parameters.detach()[index])

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that it takes to go on with the same bits: tensors, numbers and lists only."""
        return {
            "epoch": self.epoch,
            "stack": [tuple(row) for row in self._stack],
            "running": list(self._running),
            "parameters": self.parameters.detach().clone(),
            "adam": self.adam.state_dict(),
            "plateau": tensors_of(self.plateau),
            "patience": tensors_of(self.patience),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the training of the same cells was when ``state_dict`` was called."""
        self.epoch = state["epoch"]
        parameters = state["parameters"].to(self._device, copy=True)
        self.adam = StackedAdam(parameters)
        self.adam.load_state_dict(state["adam"])
        self.plateau, self.patience = Plateau(**state["plateau"]), Patience(**state["patience"])
        self._seat([Row(*row) for row in state["stack"]], state["running"], parameters)
        self._load_examples()


def _check_stack(cells: Mapping[CellSettings, Sequence[int]]) -> CellSettings:
    """Return the first cell, which stands for what all have in common; raise ValueError for what is no stack."""
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
                    f"{name} {value} and {other} in one stack: expected cells that differ in "
                    f"{', '.join(first.varied_in_a_stack)} alone; {name} needs two stacks"
                )
    return first
