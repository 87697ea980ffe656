"""How the replicates of a stack are evaluated, and what is recorded of them in an epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from trainables.engine.examples import StackedExamples
from trainables.engine.model import Model

EVALUATION_CHUNK = 200  # examples at once: small enough for the activations to stay in cache

Status = Literal["running", "completed", "converged", "failed"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one row. Losses are means over examples, accuracies are fractions.

    Metrics that the model does not have are NaN, and so are those on the training examples before
    the row's last epoch. ``train_time_s`` is this row's share of the stack's time.
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
    """Mean loss and accuracies, each ``[K]`` (float64, CPU), named as in EpochRecord."""

    loss: Tensor
    accuracy: Tensor
    digit_accuracy: Tensor
    accuracy_by_probability: Tensor


@torch.no_grad()
def evaluate(
    model: Model, answer: Callable[[Tensor], Any], examples: StackedExamples, aux_weights: Tensor
) -> Evaluation:
    """Evaluate replicates: ``answer`` is their ``evaluator_of``, ``aux_weights`` are ``[K]``."""
    totals = torch.zeros(4, len(aux_weights), dtype=torch.float64, device=aux_weights.device)
    for start in range(0, len(examples), EVALUATION_CHUNK):
        inputs, labels = examples.chunk(start, start + EVALUATION_CHUNK)
        outputs = answer(inputs)
        loss = model.losses(outputs, labels, aux_weights) * labels.shape[1]
        right = model.correct(outputs, labels)

        # Metrics that the model does not have stay NaN, whatever is added to them.
        missing = torch.full_like(loss, math.nan)
        digits = missing if right.digits is None else right.digits / 2  # of two in each example
        by_probability = missing if right.target_by_probability is None else right.target_by_probability
        totals += torch.stack([loss, right.target, digits, by_probability])
    return Evaluation(*(totals / len(examples)).cpu())
