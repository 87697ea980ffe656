"""How the replicates of a stack are evaluated."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainables.engine.examples import StackedExamples
from trainables.engine.model import Model

EVALUATION_CHUNK = 200  # examples at once: small enough for the activations to stay in cache
ON_A_GPU = 32_000  # examples of all replicates at once: enough to keep it busy (docs/performance.md)


@torch.no_grad()
def evaluate(
    model: Model, answer: Callable[[Tensor], Any], examples: StackedExamples, varied: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the mean ``loss`` and the model's metrics by name, each ``[K]`` (float64, CPU).

    ``answer`` is the replicates' ``evaluator_of``, and ``varied`` what the model's losses take.
    """
    whole = getattr(model, "figures", None)
    kept = []
    zeros = torch.zeros(len(examples.labels), dtype=torch.float64, device=examples.labels.device)
    totals: dict[str, Tensor] = defaultdict(zeros.clone)
    chunk = EVALUATION_CHUNK
    if examples.labels.device.type == "cuda":
        chunk = max(chunk, ON_A_GPU // len(examples.labels))
    for start in range(0, len(examples), chunk):
        inputs, labels = examples.chunk(start, start + chunk)
        outputs = answer(inputs)
        totals["loss"] = totals["loss"] + model.losses(outputs, labels, varied) * labels.shape[1]
        if whole is not None:
            kept.append(outputs)
            continue
        for name, value in model.sums(outputs, labels).items():
            totals[name] = totals[name] + value
    means = {name: (total / len(examples)).cpu() for name, total in totals.items()}
    if whole is None:
        return means
    # A figure such as an F1 score is no mean over examples, so it needs all outputs at once.
    found = whole(torch.cat(kept, dim=1), examples.labels)
    return means | {name: value.double().cpu() for name, value in found.items()}
