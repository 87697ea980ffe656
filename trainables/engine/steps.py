"""The training steps of a stack: on a GPU, CUDA graphs, one launch for many kernels."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from trainables.engine.examples import StackedExamples
from trainables.engine.layers import dropout_masks
from trainables.engine.model import Model, own_step_of, presentation_of
from trainables.engine.optimiser import Stack
from trainables.engine.streams import fold, stream_keys

# Steps before the capture, in which libraries choose their kernels. PyTorch's notes on CUDA
# graphs ask for it (docs.pytorch.org/docs/stable/notes/cuda.html, "Whole-network capture").
WARM_UP = 3


class Steps:
    """Takes a stack's training steps; ``varied`` has settings of the rows, each ``[K]`` (float64)."""

    def __init__(
        self, model: Model, stack: Stack, train: StackedExamples, dropout: Tensor, varied: Mapping[str, Tensor]
    ) -> None:
        self._model = model
        self._stack = stack
        self._train = train
        self._dropout = dropout
        self._varied = varied
        self._any_dropout = bool(dropout.any())
        self._own_step = own_step_of(model, stack.parameters)

        # Which numbers a seed draws depends only on the seed.
        seeds = [row.seed for row in stack.rows]
        device = stack.parameters.device
        self._presentation = presentation_of(model, seeds, device)
        self._dropout_keys = stream_keys(seeds, "dropout", device)

        # What steps change is in tensors that stay in place: a CUDA graph knows their addresses.
        self._rates = torch.empty(len(seeds), device=device)
        self._loss_sums = torch.empty(len(seeds), dtype=torch.float64, device=device)
        self._step = torch.empty((), dtype=torch.int32, device=device)
        self._graphed = GraphedStep() if device.type == "cuda" else None

    def take_epoch(self, epoch: int, batch_size: int) -> Tensor:
        """Take one pass over the examples; return the mean loss ``[K]`` (float64, CPU)."""
        batches = self._presentation.order(epoch, len(self._train)).split(batch_size, dim=1)
        self._rates.copy_(self._stack.learning_rates(epoch))
        self._loss_sums.zero_()
        self._step.fill_(epoch * len(batches))
        for batch in batches:
            if self._graphed is None:
                self._train_step(batch)
            else:
                self._graphed(self._train_step, batch)
        return (self._loss_sums / len(self._train)).cpu()

    def _train_step(self, order: Tensor) -> None:
        # It must not wait for the GPU, and all state stays in place (``GraphedStep``).
        parameters, count = self._stack.parameters, order.shape[1]
        inputs, labels = self._presentation.batch(self._train, order, self._step)
        if self._own_step is not None:
            keys = fold(self._dropout_keys, self._step)
            losses, parameters.grad = self._own_step(parameters, inputs, labels, keys, self._dropout, self._varied)
        else:
            masks = None
            if self._any_dropout:
                keys = fold(self._dropout_keys, self._step)
                masks = dropout_masks(keys, count * self._model.mask_units, self._dropout)
            outputs = self._model.forward(parameters, inputs, masks)
            losses = self._model.losses(outputs, labels, self._varied)
            # No loss depends on another's parameters, so the gradient of the sum is that of each.
            losses.sum().backward()
        self._stack.optimiser.step(parameters, self._rates)
        self._loss_sums += losses.detach() * count
        self._step += 1


class GraphedStep:
    """Takes the first steps on batches ``[K, B]`` as they are, then replays a captured one.

    The step may use only tensors that stay where they are, and must not wait for the GPU. A
    batch of another size than the first one's is taken as it is.
    """

    def __init__(self) -> None:
        # It does not hold the step, which holds the stack: in a cycle, memory of the GPU would not be freed at once.
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Tensor | None = None  # where the captured step, and so each replay, reads its batch

    def __call__(self, step: Callable[[Tensor], None], batch: Tensor) -> None:
        """Take a step; it has to be the same one in every call."""
        if self._batch is None:
            self._batch = torch.empty_like(batch)
        if batch.shape != self._batch.shape:
            step(batch)
            return
        self._batch.copy_(batch)
        if self._taken < WARM_UP:
            self._taken += 1
            # A capture needs the steps before it on another CUDA stream.
            current, aside = torch.cuda.current_stream(), _stream_aside()
            aside.wait_stream(current)
            with torch.cuda.stream(aside):
                step(self._batch)
            current.wait_stream(aside)
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with _nothing_collected(), torch.cuda.graph(self._graph):  # this only records the step
                step(self._batch)
        self._graph.replay()


@cache
def _stream_aside() -> torch.cuda.Stream:
    # One for all: cuBLAS keeps 64 MiB for each stream that it has seen.
    return torch.cuda.Stream()


@contextmanager
def _nothing_collected() -> Iterator[None]:
    # CUDA ends a capture if Python frees another graph meanwhile.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
