"""The loop: a cell's config and seeds in, epoch records out. No Ray, no files, no printing."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from trainables.classifier import Classifier
from trainables.comparator import Comparator
from trainables.config import CellConfig
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


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one seed. Losses are means over pairs, accuracies fractions, times seconds of this seed's share.

    ``test_accuracy_by_probability`` is NaN where the model does not decide by probability. The accuracies on the
    training pairs, with dropout off, are taken in the epoch in which the seed ends, and are NaN before.
    """

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
    """The training of all seeds of a cell as one stack; each step of the iterator is an epoch.

    An item holds a record for every seed that trained in that epoch, in the order given. A seed ends when its status
    is no longer ``running``; it is then dropped from the stack, and the iterator ends with the last one.
    """

    def __init__(
        self, config: CellConfig, seeds: Sequence[int], pool: Pool, device: torch.device | str = "cpu"
    ) -> None:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {list(seeds)}")
        self.config, self._pool, self._device = config, pool, torch.device(device)
        self.model: StackedModel = MODELS[config.model](config)
        self.epoch = 0
        parameters = initial_parameters(self.model.layers, seeds, self._device)
        self.adam = StackedAdam(parameters)
        self.plateau = Plateau.start(config.learning_rate, len(seeds))
        self.patience = Patience.start(len(seeds))
        self._place(seeds, parameters)

    def _place(self, seeds: Sequence[int], parameters: Tensor) -> None:
        """Set the seeds in the stack, their parameters ``[K, P]``, streams and data."""
        self.seeds = tuple(seeds)
        self.parameters = parameters.requires_grad_()
        self._order_keys = stream_keys(seeds, "order", self._device)
        self._dropout_keys = stream_keys(seeds, "dropout", self._device)
        config = self.config
        sizes = (config.train_pairs, config.test_pairs, config.validation_share, config.fixed_data)
        splits = [draw_split(self._pool, seed, *sizes) for seed in seeds]
        self._train = StackedPairs.of([split.train for split in splits], self._device)
        self._validation = StackedPairs.of([split.validation for split in splits], self._device)
        self._test = StackedPairs.of([split.test for split in splits], self._device)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[EpochRecord]:
        if not self.seeds:
            raise StopIteration
        started = time.perf_counter()
        rates = self.plateau.learning_rate
        train_loss = self.train_epoch()
        self.epoch += 1
        validation = self._evaluate(self._validation, self.parameters)
        test = self._evaluate(self._test, self.parameters)
        statuses = self._judge(validation.loss)
        columns = (rates, train_loss, *validation[:2], *test[1:], *self._evaluate_ends(statuses))
        time_s = (time.perf_counter() - started) / len(self.seeds)
        records = [
            EpochRecord(seed, self.epoch, *values, time_s, status)  # type: ignore[call-arg]
            for seed, values, status in zip(
                self.seeds, zip(*(column.tolist() for column in columns), strict=True), statuses, strict=True
            )
        ]
        self._keep([i for i, status in enumerate(statuses) if status == "running"])
        return records

    def train_epoch(self) -> Tensor:
        """Take one pass over the training pairs; return the mean loss ``[K]`` (float64, CPU)."""
        order = permutations(fold(self._order_keys, self.epoch), len(self._train))
        batches = order.split(self.config.batch_size, dim=1)
        rates = self.plateau.learning_rate.to(self._device, torch.float32)
        total = torch.zeros(len(self.seeds), dtype=torch.float64, device=self._device)
        for step, batch in enumerate(batches, start=self.epoch * len(batches)):
            images, digits = self._train.batch(batch)
            outputs = self.model.forward(self.parameters, images, self._masks(step, batch.shape[1]))
            losses = self.model.losses(outputs, digits)
            losses.sum().backward()
            self.adam.step(self.parameters, rates)
            total += losses.detach() * batch.shape[1]
        return (total / len(self._train)).cpu()

    def _masks(self, step: int, pairs: int) -> Tensor | None:
        if self.config.dropout == 0:
            return None
        keys = fold(self._dropout_keys, step)
        return dropout_masks(keys, pairs * self.model.mask_units, self.config.dropout)

    @torch.no_grad()
    def _evaluate(self, pairs: StackedPairs, parameters: Tensor) -> Evaluation:
        """Evaluate the replicates with these parameters ``[K, P]`` on their pairs, dropout off."""
        totals = torch.zeros(4, len(parameters), dtype=torch.float64, device=self._device)
        for start in range(0, len(pairs), EVALUATION_CHUNK):
            images, digits = pairs.chunk(start, start + EVALUATION_CHUNK)
            outputs = self.model.forward(parameters, images, None)
            right = self.model.correct(outputs, digits)
            loss = self.model.losses(outputs, digits) * digits.shape[1]
            by_probability = right.target_by_probability
            if by_probability is None:
                by_probability = torch.full_like(loss, math.nan)
            totals += torch.stack([loss, right.target, right.digits / 2, by_probability])
        return Evaluation(*(totals / len(pairs)).cpu())

    def _evaluate_ends(self, statuses: Sequence[Status]) -> Tensor:
        """Return the accuracies on target and digits of the training pairs, ``[2, K]``: NaN where a seed goes on."""
        accuracies = torch.full((2, len(statuses)), math.nan, dtype=torch.float64)
        rows = torch.tensor([i for i, status in enumerate(statuses) if status != "running"], dtype=torch.int64)
        if len(rows):
            index = rows.to(self._device)
            ends = self._evaluate(self._train.keep(index), self.parameters.detach()[index])
            accuracies[:, rows] = torch.stack([ends.accuracy, ends.digit_accuracy])
        return accuracies

    def _judge(self, val_loss: Tensor) -> list[Status]:
        """Let schedule and patience take in the validation losses ``[K]``; say how each seed goes on."""
        self.plateau.update(val_loss, self.config.plateau_factor, self.config.plateau_patience)
        stopped = self.patience.update(val_loss, self.config.stop_patience)
        otherwise: Status = "completed" if self.epoch == self.config.max_epochs else "running"
        return [
            "failed" if not finite else "converged" if stop and otherwise == "running" else otherwise
            for finite, stop in zip(val_loss.isfinite().tolist(), stopped.tolist(), strict=True)
        ]

    def _keep(self, rows: list[int]) -> None:
        """Drop the replicates that have ended from the stack, so that they cost nothing."""
        if len(rows) == len(self.seeds):
            return
        index = torch.tensor(rows, dtype=torch.int64)
        self.plateau, self.patience = keep(self.plateau, index), keep(self.patience, index)
        index = index.to(self._device)
        self.adam = self.adam.keep(index)
        self.seeds = tuple(self.seeds[row] for row in rows)
        self.parameters = self.parameters.detach()[index].requires_grad_()
        self._order_keys, self._dropout_keys = self._order_keys[index], self._dropout_keys[index]
        self._train, self._validation, self._test = (
            pairs.keep(index) for pairs in (self._train, self._validation, self._test)
        )

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that it takes to go on with the same bits: tensors, numbers and lists only."""
        return {
            "epoch": self.epoch,
            "seeds": list(self.seeds),
            "parameters": self.parameters.detach().clone(),
            "adam": self.adam.state_dict(),
            "plateau": tensors_of(self.plateau),
            "patience": tensors_of(self.patience),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the training of the same config was when ``state_dict`` was called."""
        self.epoch = state["epoch"]
        parameters = state["parameters"].to(self._device, copy=True)
        self.adam = StackedAdam(parameters)
        self.adam.load_state_dict(state["adam"])
        self.plateau, self.patience = Plateau(**state["plateau"]), Patience(**state["patience"])
        self._place(state["seeds"], parameters)
