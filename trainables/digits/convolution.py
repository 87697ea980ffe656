"""The convolutions of the report's networks (classifier.py) over a stack: images in, features out.

On a CPU this takes most of the time of a step. PyTorch's operators would write and read many
times the size of their inputs, so kernels.py computes it in one pass (docs/decisions/0008).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.digits.normalisation import Normalisation
from trainables.engine.layers import by_tower, conv

CHANNELS = (16, 32)
NO_NORM = Normalisation({}, None)
_pool = cache(ThreadPoolExecutor)  # one for each number of threads

Parameters = tuple[Tensor, Tensor]  # weights [K, towers, out, in, 3, 3] and biases [K, towers, out]


def read_features(
    images: Tensor, block1: Parameters, block2: Parameters, scale: Tensor | None, norm: Normalisation = NO_NORM
) -> Tensor:
    """Return features ``[K, 2, B, 128]`` of images ``[K, B, 2, 14, 14]``, 4 per channel.

    ``scale`` ``[K, B, 2, 32]`` multiplies the channels of the second convolution (dropout),
    or is None. ``norm`` normalises the outputs of conv1 and conv2.
    """
    channels = (block1[0].shape[2], block2[0].shape[2])
    # The kernels are compiled for one network only; others take PyTorch's operators.
    if images.device.type == "cpu" and channels == CHANNELS and not norm:
        if scale is None:
            scale = images.new_ones(1).expand(*images.shape[:3], CHANNELS[1])
        features: Tensor = _OnCpu.apply(images, *block1, *block2, scale)  # type: ignore[no-untyped-call]
        return features
    form = by_layers if images.device.type == "cpu" else by_patches
    return form(images, block1, block2, scale, norm)


def by_patches(
    images: Tensor, block1: Parameters, block2: Parameters, scale: Tensor | None, norm: Normalisation = NO_NORM
) -> Tensor:
    """Compute the same by products of matrices, one for each tower, over patches of its images.

    cuDNN's convolutions are not made for hundreds of groups (docs/performance.md, "GPUs").
    """
    (replicates, pairs), towers = images.shape[:2], block1[0].shape[1]
    hidden = by_tower(images, towers).transpose(0, 1).unsqueeze(1)  # [G, 1, N, 14, 14]: N images of each tower
    hidden = F.leaky_relu(_block("conv1", hidden, *block1, norm))
    hidden = _block("conv2", hidden, *block2, norm)
    if scale is not None:
        hidden = hidden * by_tower(scale, towers).permute(1, 2, 0)[..., None, None]
    features: Tensor = F.leaky_relu(hidden).view(replicates, towers, -1, pairs, 2 // towers, 4)
    return features.permute(0, 4, 1, 3, 2, 5).flatten(1, 2).flatten(3)


def _block(name: str, inputs: Tensor, weight: Tensor, bias: Tensor, norm: Normalisation) -> Tensor:
    """Convolve ``[G, in, N, H, W]``, normalise, and pool to ``[G, out, N, h, w]``."""
    patches = _Patches.apply(inputs)  # type: ignore[no-untyped-call]
    kernels = weight.flatten(0, 1).flatten(2)  # [G, out, in * 9]
    outputs = torch.baddbmm(bias.flatten(0, 1).unsqueeze(2), kernels, patches.flatten(3).flatten(1, 2))
    outputs = outputs.unflatten(2, patches.shape[3:])  # [G, out, N, H - 2, W - 2]
    if norm:
        outputs = norm.channels(name, outputs.flatten(0, 1).unsqueeze(0)).view_as(outputs)
    pooled: Tensor = F.max_pool2d(outputs.flatten(0, 1), 2)
    return pooled.view(*outputs.shape[:2], *pooled.shape[1:])


class _Patches(torch.autograd.Function):
    """The 3 x 3 patches of ``[G, in, N, H, W]``: ``[G, in, 9, N, H - 2, W - 2]``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.shape = inputs.shape
        windows = inputs.unfold(3, 3, 1).unfold(4, 3, 1)  # [G, in, N, H - 2, W - 2, 3, 3]
        return windows.permute(0, 1, 5, 6, 2, 3, 4).flatten(2, 3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        found = gradient.new_zeros(ctx.shape)
        height, width = gradient.shape[4:]
        # In one order, so that the same inputs give the same bits.
        for place in range(9):
            row, column = divmod(place, 3)
            found[..., row : row + height, column : column + width] += gradient[:, :, place]
        return found


def by_layers(
    images: Tensor, block1: Parameters, block2: Parameters, scale: Tensor | None, norm: Normalisation = NO_NORM
) -> Tensor:
    """Compute the same with PyTorch's operators, all towers as groups of one convolution."""
    (replicates, pairs), towers = images.shape[:2], block1[0].shape[1]
    # [B * 2 / towers, K * towers, ...]; PyTorch convolves faster if the channels are last in memory.
    hidden = by_tower(images, towers).contiguous(memory_format=torch.channels_last)
    hidden = F.leaky_relu(F.max_pool2d(norm.channels("conv1", conv(hidden, *block1)), 2))
    hidden = F.max_pool2d(norm.channels("conv2", conv(hidden, *block2)), 2)
    if scale is not None:
        # The report scales before it pools, which gives the same with more to scale.
        hidden = hidden * by_tower(scale, towers).reshape(len(hidden), -1, 1, 1)
    features = F.leaky_relu(hidden).reshape(pairs, -1, replicates, towers, 4 * block2[0].shape[2])
    return features.permute(2, 1, 3, 0, 4).flatten(1, 2)


class _OnCpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        from trainables.digits import kernels  # here: a GPU needs no numba

        images, weight1, bias1, weight2, bias2, scale = inputs
        replicates, pairs = images.shape[:2]
        hidden = images.new_empty(replicates, 2, pairs, 6, 6, CHANNELS[0])
        features = images.new_empty(replicates, 2, pairs, CHANNELS[1], 4)
        corner1 = torch.empty_like(hidden, dtype=torch.int8)
        corner2 = torch.empty_like(features, dtype=torch.int8)
        written = (hidden, corner1, features, corner2)

        # The kernels read weights with output channels last, to keep them in vector registers.
        block1 = (weight1.flatten(3).mT, bias1)
        block2 = (weight2.flatten(4).permute(0, 1, 3, 4, 2), bias2)
        _by_replicate(kernels.forward, images, *block1, *block2, scale, *written)
        ctx.save_for_backward(images, weight2, scale, *written)
        return features.flatten(3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from trainables.digits import kernels

        images, weight2, scale, *written = ctx.saved_tensors
        weight1_gradient = images.new_zeros(*weight2.shape[:2], 9, CHANNELS[0])
        weight2_gradient = images.new_zeros(*weight2.shape[:3], 3, 3 * CHANNELS[0])
        bias1_gradient = images.new_zeros(*weight2.shape[:2], CHANNELS[0])
        bias2_gradient = images.new_zeros(*weight2.shape[:2], CHANNELS[1])
        gradients = (weight1_gradient, bias1_gradient, weight2_gradient, bias2_gradient)
        channels_last = weight2.permute(0, 1, 2, 4, 5, 3).flatten(4)
        gradient = gradient.unflatten(3, (CHANNELS[1], 4))
        _by_replicate(kernels.backward, gradient, images, channels_last, scale, *written, *gradients)
        weight1_gradient = weight1_gradient.mT.unflatten(3, (1, 3, 3))
        weight2_gradient = weight2_gradient.unflatten(4, (3, CHANNELS[0])).permute(0, 1, 2, 5, 3, 4)
        # One for each input of forward; images and scale need none.
        return None, weight1_gradient, bias1_gradient, weight2_gradient, bias2_gradient, None


def _by_replicate(kernel: Callable[..., None], *tensors: Tensor) -> None:
    """Call the kernel on the tensors' arrays; each thread takes some replicates."""
    arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
    threads = min(torch.get_num_threads(), len(arrays[0]))
    if threads <= 1:
        kernel(*arrays)
        return
    parts = []
    for thread in range(threads):
        start = len(arrays[0]) * thread // threads
        stop = len(arrays[0]) * (thread + 1) // threads
        parts.append([array[start:stop] for array in arrays])
    # list() waits for all, and raises here what a kernel raised in its thread.
    list(_pool(threads).map(lambda part: kernel(*part), parts))
