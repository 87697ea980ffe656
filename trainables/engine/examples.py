"""Examples of any task, and how one seed's are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from trainables.engine.streams import permutations, stream_keys


@dataclass(frozen=True)
class Examples:
    """n examples: inputs ``[n, ...]`` (float32) and labels ``[n, ...]`` (int64)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Split:
    """One seed's examples. None occurs twice in all three together; every seed has as many."""

    train: Examples
    validation: Examples
    test: Examples


def split_examples(inputs: Tensor, labels: Tensor, seed: int, validation_share: float, test_share: float) -> Split:
    """Divide examples ``[n, ...]`` anew for each seed; the shares are of all n, rounded.

    Raises ValueError where a part would be empty.
    """
    n = len(labels)
    test, validation = round(n * test_share), round(n * validation_share)
    sizes = [n - validation - test, validation, test]
    if min(sizes) < 1:
        raise ValueError(
            f"validation_share {validation_share:g} and test_share {test_share:g} of {n} examples leave {sizes[0]} to "
            f"train on, {sizes[1]} to validate and {sizes[2]} to test: expected one or more of each"
        )
    order = permutations(stream_keys([seed], "data"), n)[0].split(sizes)
    return Split(*(Examples(inputs[part], labels[part]) for part in order))


@dataclass(frozen=True)
class StackedExamples:
    """The examples of K replicates: inputs ``[K, n, ...]``, labels ``[K, n, ...]``."""

    inputs: Tensor
    labels: Tensor

    @classmethod
    def of(cls, replicates: Sequence[Examples], device: torch.device) -> Self:
        """Stack the examples of each replicate; all have the same number."""
        if not replicates:  # all have ended
            return cls(torch.empty(0, 0), torch.empty(0, 0))
        inputs = torch.stack([examples.inputs for examples in replicates])
        return cls(inputs.to(device), torch.stack([examples.labels for examples in replicates]).to(device))

    def __len__(self) -> int:
        return self.labels.shape[1]

    def batch(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Gather examples by ``order`` ``[K, B]``: inputs ``[K, B, ...]``, labels ``[K, B, ...]``.

        An order ``[K, B, 2]`` makes pairs of images by their numbers: those of pair i are 2i and 2i + 1.
        """
        inputs, labels = self.inputs, self.labels
        if order.dim() == 3:
            inputs, labels = inputs.flatten(1, 2), labels.flatten(1, 2)
        rows = torch.arange(len(order), device=order.device).view(-1, *[1] * (order.dim() - 1))
        return inputs[rows, order], labels[rows, order]

    def chunk(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples from start to stop in their own order, shaped as a batch."""
        return self.inputs[:, start:stop], self.labels[:, start:stop]

    def keep(self, rows: Tensor) -> Self:
        """Drop all replicates but those at ``rows`` (int64)."""
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows])
