"""A training step on a GPU as a CUDA graph: one launch for the many small kernels of a step.

Figures of it have not been measured yet: no GPU was at hand when it was written. On a CPU nothing of it is used.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = (
    3  # steps taken before the capture, in which libraries choose their kernels; as PyTorch's notes on CUDA advise
)


class GraphedStep:
    """Takes steps on batches ``[K, B]``: the first ones as they are, then by replaying a captured one.

    The step may read and change only tensors that stay where they are, and must not wait for the GPU. A batch of
    another size than the first one's is taken as it is.
    """

    def __init__(self, step: Callable[[Tensor], None]) -> None:
        self._step, self._taken = step, 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Tensor | None = None  # where a replay reads its batch

    def __call__(self, batch: Tensor) -> None:
        """Take a step."""
        if self._batch is None:
            self._batch = torch.empty_like(batch)
        if batch.shape != self._batch.shape:
            self._step(batch)
            return
        self._batch.copy_(batch)
        if self._taken < WARM_UP:
            self._taken += 1
            self._aside(self._batch)
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records, and computes nothing
                self._step(self._batch)
        self._graph.replay()

    def _aside(self, batch: Tensor) -> None:
        """Take a step on a stream of its own, as must be before a capture."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._step(batch)
        current.wait_stream(self._stream)
