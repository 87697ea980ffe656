"""Examples of any task: how they are drawn, stacked over replicates, and shown in training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from trainables.engine.streams import fold, permutations, stream_keys

MAKE_IT_A_FUNCTION = "make it a function (model: my_module:train)"


@dataclass(frozen=True)
class Examples:
    """n examples: inputs ``[n, ...]`` (float32) and labels ``[n, ...]`` (int64)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Split:
    """One seed's examples. The parts share none, and are of equal size for every seed; a test may be missing."""

    train: Examples
    validation: Examples
    test: Examples | None = None


def split_examples(inputs: Tensor, labels: Tensor, seed: int, validation_share: float, test_share: float) -> Split:
    """Divide examples by seed; shares are of all, rounded. Raises ValueError for an empty part.

    With a ``test_share`` of 0 there is no test part.
    """
    n = len(labels)
    test = round(n * test_share)
    validation = round(n * validation_share)
    sizes = [n - validation - test, validation, test]
    if min(sizes if test_share else sizes[:2]) < 1:
        raise ValueError(
            f"validation_share {validation_share:g} and test_share {test_share:g} of {n} examples leave {sizes[0]} to "
            f"train on, {sizes[1]} to validate and {sizes[2]} to test: expected one or more of each"
        )
    order = permutations(stream_keys([seed], "data"), n)[0].split(sizes)
    return Split(*(Examples(inputs[part], labels[part]) for part in order if len(part)))


def check_split(split: Any) -> None:
    """Raise ValueError if what a model drew is not a Split of examples that can be stacked."""
    if not isinstance(split, Split):
        raise ValueError(
            f"draw gives a {type(split).__name__}: expected trainables.Split, as split_examples returns it"
        )
    for name, part in vars(split).items():
        if part is None and name == "test":
            continue
        for what in ("inputs", "labels"):
            value = getattr(part, what, None)
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"draw gives {what} of type {type(value).__name__}: expected a tensor with a row for each example; "
                    f"if one tensor cannot hold them, {MAKE_IT_A_FUNCTION}"
                )
        if len(part.inputs) != len(part.labels) or not len(part.labels):
            found = f"{len(part.inputs)} inputs and {len(part.labels)} labels"
            raise ValueError(f"draw gives {found} to {name}: expected equally many, and one at least")
        if part.inputs.dtype == torch.float64:
            raise ValueError("draw gives inputs of float64: expected float32, as the parameters are; use .float()")


class StackedExamples(Examples):
    """The examples of K replicates: inputs ``[K, n, ...]``, labels ``[K, n, ...]``."""

    @classmethod
    def of(cls, replicates: Sequence[Examples], device: torch.device) -> Self:
        """Stack the examples of each replicate; all have the same number."""
        # A training whose rows have all ended has none, which torch.stack refuses.
        if not replicates:
            return cls(torch.empty(0, 0), torch.empty(0, 0))
        inputs = torch.stack([examples.inputs for examples in replicates])
        labels = torch.stack([examples.labels for examples in replicates])
        return cls(inputs.to(device), labels.to(device))

    def __len__(self) -> int:
        return self.labels.shape[1]

    def batch(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Gather inputs and labels ``[K, B, ...]`` by ``order`` ``[K, B, ...]``."""
        # As rows of one matrix: several times as fast as an index for each axis.
        starts = torch.arange(len(order), device=order.device).view(-1, *[1] * (order.dim() - 1)) * len(self)
        index = (order + starts).flatten()
        inputs, labels = (x.flatten(0, 1).index_select(0, index) for x in (self.inputs, self.labels))
        return inputs.unflatten(0, order.shape), labels.unflatten(0, order.shape)

    def chunk(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples from start to stop in their own order, shaped as a batch."""
        return self.inputs[:, start:stop], self.labels[:, start:stop]

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates except those at ``rows`` (int64)."""
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows])


@dataclass(frozen=True)
class StackedSplit:
    """The parts of the examples of K replicates."""

    train: StackedExamples
    validation: StackedExamples
    test: StackedExamples | None

    @classmethod
    def of(cls, replicates: Sequence[Split], device: torch.device) -> Self:
        """Stack the examples of each replicate, part by part."""
        tests = [split.test for split in replicates if split.test is not None]
        return cls(
            StackedExamples.of([split.train for split in replicates], device),
            StackedExamples.of([split.validation for split in replicates], device),
            StackedExamples.of(tests, device) if tests else None,
        )

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates except those at ``rows`` (int64)."""
        test = None if self.test is None else self.test.keep(rows)
        return type(self)(self.train.keep(rows), self.validation.keep(rows), test)


class Presentation(Protocol):
    """How training shows its examples, by seed and epoch or step only."""

    def order(self, epoch: int, count: int) -> Tensor:
        """Return an epoch's order, ``[K, count, ...]``; ``batch`` gets a part of it."""

    def batch(self, train: StackedExamples, order: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels ``[K, B, ...]``; ``step`` (int32) counts over epochs."""


class Shuffled:
    """Shows every example as it is, once per epoch, in a random order of that epoch."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._keys = stream_keys(seeds, "order", device)

    def order(self, epoch: int, count: int) -> Tensor:
        """Return an epoch's order of ``count`` examples, ``[K, count]``."""
        return permutations(fold(self._keys, epoch), count)

    def batch(self, train: StackedExamples, order: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs and labels at ``order`` ``[K, B]``."""
        return train.batch(order)
