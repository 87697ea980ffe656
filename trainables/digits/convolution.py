"""The convolutions of the report's networks (classifier.py) over a stack: images in, features out.

On a CPU, the kernels compute the report's own sizes (docs/decisions/0008), and are held against this.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.digits.normalisation import Normalisation
from trainables.engine.layers import by_tower, conv

CHANNELS = (16, 32)
NO_NORM = Normalisation({}, None)

Parameters = tuple[Tensor, Tensor]  # weights [K, towers, out, in, 3, 3] and biases [K, towers, out]


def read_features(
    images: Tensor, block1: Parameters, block2: Parameters, scale: Tensor | None, norm: Normalisation = NO_NORM
) -> Tensor:
    """Return features ``[K, 2, B, 128]`` of images ``[K, B, 2, 14, 14]``, 4 per channel.

    ``scale`` ``[K, B, 2, 32]`` multiplies the channels of the second convolution (dropout),
    or is None. ``norm`` normalises the outputs of conv1 and conv2.
    """
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
