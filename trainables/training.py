"""The loop: cells and their seeds in, epoch records out. No Ray, no files, no printing."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from trainables.classifier import Classifier
from trainables.comparator import Comparator
from trainables.config import VARIED_IN_A_STACK, CellConfig
from trainables.graphs import GraphedStep
from trainables.pairs import Pool, draw_split
from trainables.stacked import (
    Patience,
    Plateau,
    StackedAdam,
    StackedModel,
    StackedPairs,
    dropout_masks,
    initial_parameters,
    keep,
    tensors_of,
)
from trainables.streams import fold, permutations, stream_keys

MODELS: Mapping[str, Callable[[CellConfig], StackedModel]] = {"comparator": Comparator, "classifier": Classifier}
EVALUATION_CHUNK = 200  # pairs at once: small enough for the activations to stay in cache

Status = Literal["running", "completed", "converged", "failed"]


class Row(NamedTuple):
    """What a row of a stack trains: a seed of the cell with this id."""

    cell_id: str
    seed: int


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a row. Losses are means over pairs, accuracies fractions, times seconds of this row's share.

    ``test_accuracy_by_probability`` is NaN where the model does not decide by probability. The accuracies on the
    training pairs, with dropout off, are taken in the epoch in which the row ends, and are NaN before.
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
    no longer ``running``; the iterator ends with the last one. The cells may differ in VARIED_IN_A_STACK alone.

    ``idle_share`` is the share of the stack's rows that may have ended and still be computed, unheard, before they are
    dropped from it. By default they are dropped at once.
    """

    def __init__(
        self,
        cells: Mapping[CellConfig, Sequence[int]],
        pool: Pool,
        device: torch.device | str = "cpu",
        idle_share: float = 0.0,
    ) -> None:
        self.config = _check_stack(cells)
        self._cells = {cell.cell_id: cell for cell in cells}
        self._pool, self._device, self._idle_share = pool, torch.device(device), idle_share
        self.model: StackedModel = MODELS[self.config.model](self.config)
        self.epoch = 0
        rows = [Row(cell.cell_id, seed) for cell, seeds in cells.items() for seed in seeds]
        parameters = initial_parameters(self.model.layers, [row.seed for row in rows], self._device)
        self.adam = StackedAdam(parameters)
        self.plateau = Plateau.start([self._cells[row.cell_id].learning_rate for row in rows])
        self.patience = Patience.start(len(rows))
        self._seat(rows, [True] * len(rows), parameters)
        self._load_pairs()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that are still in training."""
        return tuple(row for row, running in zip(self._stack, self._running, strict=True) if running)

    def _seat(self, stack: Sequence[Row], running: Sequence[bool], parameters: Tensor) -> None:
        """Set the rows of the stack, which of them are running, and their parameters ``[K, P]``, streams, settings."""
        self._stack, self._running = tuple(stack), list(running)
        self.parameters = parameters.requires_grad_()
        seeds, cells = [row.seed for row in stack], [self._cells[row.cell_id] for row in stack]
        self._order_keys = stream_keys(seeds, "order", self._device)
        self._dropout_keys = stream_keys(seeds, "dropout", self._device)
        self._aux_weights, self._dropout = (
            torch.tensor([getattr(cell, name) for cell in cells], dtype=torch.float64, device=self._device)
            for name in ("aux_weight", "dropout")
        )
        self._any_dropout = any(cell.dropout for cell in cells)
        # What changes from step to step, in tensors that stay where they are.
        self._rates = torch.empty(len(stack), device=self._device)
        self._loss_sums = torch.empty(len(stack), dtype=torch.float64, device=self._device)
        self._step = torch.empty((), dtype=torch.int32, device=self._device)
        self._take_step = GraphedStep(self._train_step) if self._device.type == "cuda" else self._train_step

    def _load_pairs(self) -> None:
        config = self.config
        sizes = (config.train_pairs, config.test_pairs, config.validation_share, config.fixed_data)
        drawn = {seed: draw_split(self._pool, seed, *sizes) for seed in {row.seed for row in self._stack}}
        splits = [drawn[row.seed] for row in self._stack]
        self._train = StackedPairs.of([split.train for split in splits], self._device)
        self._validation = StackedPairs.of([split.validation for split in splits], self._device)
        self._test = StackedPairs.of([split.test for split in splits], self._device)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[EpochRecord]:
        if not self.rows:
            raise StopIteration
        started = time.perf_counter()
        rates = self.plateau.learning_rate
        train_loss = self.train_epoch()
        self.epoch += 1
        validation = self._evaluate(self._validation, self.parameters, self._aux_weights)
        test = self._evaluate(self._test, self.parameters, self._aux_weights)
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
        """Take one pass over the training pairs; return the mean loss ``[K]`` (float64, CPU)."""
        order = permutations(fold(self._order_keys, self.epoch), len(self._train))
        batches = order.split(self.config.batch_size, dim=1)
        self._rates.copy_(self.plateau.learning_rate)
        self._loss_sums.zero_()
        self._step.fill_(self.epoch * len(batches))
        for batch in batches:
            self._take_step(batch)
        return (self._loss_sums / len(self._train)).cpu()

    def _train_step(self, batch: Tensor) -> None:
        """Take a step on the pairs at ``batch`` ``[K, B]``: the host waits for nothing, all state stays in place."""
        images, digits = self._train.batch(batch)
        outputs = self.model.forward(self.parameters, images, self._masks(batch.shape[1]))
        losses = self.model.losses(outputs, digits, self._aux_weights)
        losses.sum().backward()
        self.adam.step(self.parameters, self._rates)
        self._loss_sums += losses.detach() * batch.shape[1]
        self._step += 1

    def _masks(self, pairs: int) -> Tensor | None:
        if not self._any_dropout:
            return None
        keys = fold(self._dropout_keys, self._step)
        return dropout_masks(keys, pairs * self.model.mask_units, self._dropout)

    @torch.no_grad()
    def _evaluate(self, pairs: StackedPairs, parameters: Tensor, aux_weights: Tensor) -> Evaluation:
        """Evaluate the replicates with these parameters ``[K, P]`` on their pairs, dropout off."""
        totals = torch.zeros(4, len(parameters), dtype=torch.float64, device=self._device)
        for start in range(0, len(pairs), EVALUATION_CHUNK):
            images, digits = pairs.chunk(start, start + EVALUATION_CHUNK)
            outputs = self.model.forward(parameters, images, None)
            right = self.model.correct(outputs, digits)
            loss = self.model.losses(outputs, digits, aux_weights) * digits.shape[1]
            by_probability = right.target_by_probability
            if by_probability is None:
                by_probability = torch.full_like(loss, math.nan)
            totals += torch.stack([loss, right.target, right.digits / 2, by_probability])
        return Evaluation(*(totals / len(pairs)).cpu())

    def _evaluate_ends(self, statuses: Sequence[Status | None]) -> Tensor:
        """Return the accuracies on target and digits of the training pairs, ``[2, K]``: NaN where no row ends."""
        accuracies = torch.full((2, len(statuses)), math.nan, dtype=torch.float64)
        ends = [i for i, status in enumerate(statuses) if status not in ("running", None)]
        rows = torch.tensor(ends, dtype=torch.int64)
        if ends:
            index = rows.to(self._device)
            parameters, aux_weights = self.parameters.detach()[index], self._aux_weights[index]
            found = self._evaluate(self._train.keep(index), parameters, aux_weights)
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
            pairs.keep(index) for pairs in (self._train, self._validation, self._test)
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
        self._load_pairs()


def _check_stack(cells: Mapping[CellConfig, Sequence[int]]) -> CellConfig:
    """Return the first cell, which stands for what all have in common; raise ValueError for what is no stack."""
    if not cells:
        raise ValueError("no cell to train: expected at least one")
    for seeds in cells.values():
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {list(seeds)}")
    first = next(iter(cells))
    for cell in cells:
        for name, value in first.model_dump().items():
            if name not in VARIED_IN_A_STACK and (other := getattr(cell, name)) != value:
                raise ValueError(
                    f"{name} {value} and {other} in one stack: expected cells that differ in "
                    f"{', '.join(VARIED_IN_A_STACK)} alone; {name} needs two stacks"
                )
    return first
