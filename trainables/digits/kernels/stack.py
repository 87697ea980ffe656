"""The report's networks as kernels over a stack: each thread takes some replicates."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from trainables.digits.kernels.convolution import Array
from trainables.digits.kernels.step import MEMORY, OF_TOWER, answer, step

_pool = cache(ThreadPoolExecutor)  # one for each number of threads


def losses_and_gradient(
    parameters: Tensor, images: Tensor, digits: Tensor, keys: Tensor, dropout: Tensor, on_digits: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the losses ``[K]`` of images ``[K, B, 2, 14, 14]`` and their gradient ``[K, P]``.

    ``keys`` ``[K, 2]`` are those of this step's masks, ``on_digits`` ``[K]`` the weights of the
    digits' loss.
    """
    replicates = len(images)
    losses, gradient = images.new_empty(replicates), torch.empty_like(parameters, requires_grad=False)
    target = (digits[..., 0] <= digits[..., 1]).long()
    arrays = (parameters.detach(), gradient, images, digits, target, keys)
    p, g, x, labels, targets, key = (array.reshape(replicates, -1).numpy() for array in arrays)
    loss, probability, weight = losses.numpy(), dropout.tolist(), on_digits.tolist()

    def take(k: int, memory: Array) -> None:
        loss[k] = step(p[k], g[k], x[k], labels[k], targets[k], key[k], probability[k], weight[k], memory)

    _for_each(take, p)
    return losses, gradient


def logits(parameters: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits of the target, ``[K, B, 2]`` (a classifier's are empty), and of digits, ``[K, 2, B, 10]``."""
    replicates, pairs = images.shape[:2]
    of_target = images.new_empty(replicates, pairs if parameters.shape[1] > 2 * OF_TOWER else 0, 2)
    of_digits = images.new_empty(replicates, 2, pairs, 10)
    arrays = (parameters.detach(), images, of_target, of_digits)
    p, x, target, digits = (array.reshape(replicates, array[0].numel()).numpy() for array in arrays)
    _for_each(lambda k, memory: answer(p[k], x[k], target[k], digits[k], memory), p)
    return of_target, of_digits


def _for_each(take: Callable[[int, Array], None], rows: Array) -> None:
    """Call ``take`` for the number of each row, on PyTorch's number of threads, each with memory of its own."""
    threads = min(torch.get_num_threads(), len(rows))

    def take_some(thread: int) -> None:
        memory = np.empty(MEMORY, rows.dtype)
        for k in range(len(rows) * thread // threads, len(rows) * (thread + 1) // threads):
            take(k, memory)

    if threads <= 1:
        take_some(0)
    else:
        # list() waits for all, and raises here what was raised in a thread.
        list(_pool(threads).map(take_some, range(threads)))
