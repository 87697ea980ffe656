"""Tries a stacked model with two seeds, and says in one line what it cannot do."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config import CellSettings
from trainables.engine.evaluation import EVALUATION_CHUNK, evaluate
from trainables.engine.examples import MAKE_IT_A_FUNCTION, Split, StackedExamples, StackedSplit, check_split
from trainables.engine.model import Model, evaluator_of
from trainables.engine.stacked_module import StackedModule

SEEDS = (0, 1)
CPU = torch.device("cpu")
FEW = 8  # examples of a step here, and those that give batch norm its moments
NEAR = 1e-4  # relative: float32's rounding in another order stays far below


def try_stack(model: Model, pool: Any, cell: CellSettings, repeat: bool = True) -> None:
    """Draw, take a step and evaluate; raise ValueError, or whatever the model's own code raises.

    With ``repeat``, one seed is drawn twice, to see whether the seed determines what is drawn.
    """
    splits = [model.draw(pool, cell, seed) for seed in SEEDS]
    _check_draws(splits, model.draw(pool, cell, SEEDS[0]) if repeat else splits[0])
    examples = StackedSplit.of(splits, CPU)
    varied = {}
    for name in cell.varied_in_a_stack:
        # These two are the engine's.
        if name not in ("learning_rate", "dropout"):
            varied[name] = torch.full((len(SEEDS),), float(getattr(cell, name))).double()
    alone = _loss_alone(model, splits) if isinstance(model, StackedModule) else None

    # In the stack: a step, also with one example if that is what an epoch's last batch has.
    parameters = model.initial(SEEDS, CPU).requires_grad_()
    stacked = partial(_in_a_stack, isinstance(model, StackedModule))
    losses = stacked(_take_step, model, parameters, examples.train.chunk(0, FEW), varied)
    if alone is not None:
        _check_same_as_module(model, alone, losses[1].item())
    if 1 in (cell.batch_size, len(examples.train) % cell.batch_size):
        stacked(_take_step, model, parameters, examples.train.chunk(0, 1), varied)

    # Evaluation. Figures are not computed in a stack, but for one replicate after the other.
    few = StackedExamples(*examples.train.chunk(0, FEW))
    answer = evaluator_of(model, parameters.detach(), few)
    stacked(_check_losses, lambda inputs, labels: model.losses(answer(inputs), labels, varied), examples)
    validation = StackedExamples(*examples.validation.chunk(0, EVALUATION_CHUNK))
    whole = hasattr(model, "figures")
    found = (evaluate if whole else partial(stacked, evaluate))(model, answer, validation, varied)
    _check_metrics(found, [metric.name for metric in cell.metrics])


def _check_draws(splits: Sequence[Split], again: Split) -> None:
    for split in (*splits, again):
        check_split(split)
    for name in ("train", "validation", "test"):
        first, second, repeated = (getattr(split, name) for split in (*splits, again))
        sizes = [None if part is None else (part.inputs.shape, part.labels.shape) for part in (first, second)]
        if sizes[0] != sizes[1]:
            inputs = [size and list(size[0]) for size in sizes]
            raise ValueError(
                f"draw gives inputs of shape {inputs[0]} to {name} for seed 0 and {inputs[1]} for seed 1: expected "
                f"the same for every seed, and labels likewise; else {MAKE_IT_A_FUNCTION}"
            )
        if first is not None and not (_same(first.inputs, repeated.inputs) and _same(first.labels, repeated.labels)):
            raise ValueError(
                "draw gives other examples when it is called again with the same seed: expected that the seed "
                "determines them, as torch.Generator().manual_seed(seed) does"
            )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, 0, 0, equal_nan=True)


def _loss_alone(model: StackedModule, splits: Sequence[Split]) -> float:
    """Return the mean loss of a few examples by the module of seed 1, without dropout."""
    module = model.built(SEEDS[1]).train()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    few = splits[1].train
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        outputs = module(few.inputs[:FEW])
        losses: Any = getattr(module, "losses", None)
        if losses is None:
            _check_logits(outputs, splits, "loss", "define losses, and what the metrics are")
            losses = partial(F.cross_entropy, reduction="none")
        correct: Any = getattr(module, "correct", None)
        if correct is not None:
            correct(outputs, few.labels[:FEW])
        elif not hasattr(module, "figures"):
            _check_logits(outputs, splits, "accuracy", "define correct, or metrics in Settings and figures")
        if hasattr(module, "figures") and not isinstance(outputs, Tensor):
            raise ValueError(f"forward gives a {type(outputs).__name__}: with figures, expected a tensor")
        return float(losses(outputs, few.labels[:FEW]).mean())


def _check_logits(outputs: Any, splits: Sequence[Split], what: str, fix: str) -> None:
    """Raise ValueError unless outputs are logits of classes, and labels their numbers."""
    shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"forward gives {shape} for {min(FEW, len(splits[1].train.labels))} examples, and the built-in {what} is "
            f"for logits, [examples, classes]; {fix}"
        )
    classes = outputs.shape[1]
    for split in splits:
        for part in filter(None, (split.train, split.validation, split.test)):
            labels = part.labels
            if labels.dtype != torch.int64 or labels.dim() != 1:
                kind = str(labels.dtype).removeprefix("torch.")
                raise ValueError(
                    f"labels are {kind} of shape {list(labels.shape)}, and the built-in {what} is for class numbers, "
                    f"int64 [{len(labels)}]; {fix}"
                )
            low, high = map(int, labels.aminmax())
            if what == "loss" and not 0 <= low <= high < classes:
                wrong = low if low < 0 else high
                raise ValueError(f"label {wrong} with {classes} logits: expected labels from 0 to {classes - 1}")


def _in_a_stack(is_module: bool, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call; say what to do about what works for one module and not for a stack of them."""
    try:
        return call(*arguments)
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        if "random operation while in randomness error mode" in text:
            raise ValueError(
                "it draws random numbers, which would differ from stack to stack: expected no randomness except that "
                "of nn.Dropout(settings.dropout); change inputs at random in draw, or " + MAKE_IT_A_FUNCTION
            ) from error
        if "more than 1 value per channel" in text:
            raise ValueError(
                "the last batch of an epoch has one example, which batch norm cannot normalise; set another batch_size"
            ) from error
        # The module alone has done this before: it is the stack that cannot.
        if is_module and ("vmap" in text.lower() or not isinstance(error, ValueError)):
            why = text.partition(". ")[0]
            raise ValueError(f"seeds cannot train as one stack ({why}): {MAKE_IT_A_FUNCTION}") from error
        raise


def _take_step(model: Model, parameters: Tensor, batch: tuple[Tensor, Tensor], varied: Mapping[str, Tensor]) -> Tensor:
    """Compute losses ``[K]`` and their gradient."""
    inputs, labels = batch
    # Masks of ones: dropout's code runs, and the loss is that of the whole network.
    masks = torch.ones(len(inputs), inputs.shape[1] * model.mask_units) if model.mask_units else None
    losses = model.losses(model.forward(parameters, inputs, masks), labels, varied)
    if losses.shape != inputs.shape[:1]:
        raise ValueError(f"losses gives shape {list(losses.shape)} for {len(inputs)} seeds: expected a mean for each")
    if not losses.requires_grad:
        raise ValueError("its losses do not depend on parameters that are trained: expected a gradient")
    losses.sum().backward()
    if isinstance(model, StackedModule):
        # In forward, a replicate's parameters take the place of the module's own.
        for name, parameter in model.module.named_parameters():
            if parameter.grad is not None:
                raise ValueError(
                    f"losses uses the parameter {name}, which is a seed's own only in forward: return what it gives "
                    f"from forward, or {MAKE_IT_A_FUNCTION}"
                )
    return losses.detach()


def _check_same_as_module(model: Model, alone: float, stacked: float) -> None:
    if not abs(alone - stacked) <= NEAR * (1 + abs(alone)) and alone == alone:
        raise ValueError(
            f"seed 1 has loss {stacked:.6g} in a stack and {alone:.6g} alone: expected the same. What differs between "
            "seeds or calls must be parameters of registered layers that torch's generator initialises (frozen ones "
            f"by requires_grad_(False)), and losses must not use them; else {MAKE_IT_A_FUNCTION}"
        )


def _check_metrics(found: Mapping[str, Tensor], names: Sequence[str]) -> None:
    for name, values in found.items():
        if name not in ("loss", *names) or values.shape != (len(SEEDS),):
            raise ValueError(
                f"metric {name} has shape {list(values.shape)} for {len(SEEDS)} seeds: expected [{len(SEEDS)}] for "
                f"each of {', '.join(names)}, which Settings.metrics names"
            )
    if names[0] not in found:
        raise ValueError(f"an evaluation gives {', '.join(found)}: expected {names[0]}, the first of Settings.metrics")


@torch.no_grad()
def _check_losses(loss: Callable[[Tensor, Tensor], Tensor], examples: StackedSplit) -> None:
    """Check that no example changes another's loss, and that losses are numbers."""
    inputs, labels = examples.validation.chunk(0, 2)
    before = inputs.clone()
    together = loss(inputs, labels)
    single = [loss(inputs[:, place : place + 1], labels[:, place : place + 1]) for place in range(labels.shape[1])]
    if not _same(inputs, before):
        raise ValueError(
            "forward changes its inputs in place, which are a seed's examples: expected x = x - 1, not x -= 1"
        )
    if not torch.allclose(torch.stack(single).mean(0), together, NEAR, NEAR, equal_nan=True):
        raise ValueError(
            "in evaluation, its answer to an example depends on the other examples of the batch: expected that it "
            f"does not, as with nn.BatchNorm; else {MAKE_IT_A_FUNCTION}"
        )
    for name, part in vars(examples).items():
        if part is None or part.inputs.isfinite().all():
            continue
        seed, place = map(int, (~part.inputs.isfinite()).nonzero()[0, :2])
        if not loss(*part.chunk(place, place + 1))[seed].isfinite():
            raise ValueError(
                f"draw gives inputs to {name} that are NaN or infinite (example {place} of seed {seed}), and so is "
                "the loss: expected finite inputs"
            )
