"""The two convolution blocks on a CPU core, forward and backward, compiled by numba.

A block is a 3x3 convolution without padding, a 2x2 max-pool, a channel scale (dropout's) and
leaky ReLU. One image fits into a core's first cache, so each goes through both blocks before the
next. Arrays have channels last: a vector register holds channels, and an input value is broadcast
to all of them. A pooled output needs a 4x4 patch, whose four windows share their loads.

Backward, only the largest corner of a window has a gradient: a quarter of the products of a
convolution's ordinary backward pass, and none for channels that dropout has dropped.

Shapes: K replicates with T towers each (1, shared by both images, or 2), B pairs. PyTorch's rules
hold: the first of equal corners wins, and leaky ReLU has its slope at 0. Indices computed from
data are unsigned: numba would else look for negative ones, and LLVM could not use vectors.
"""

from typing import Any

import numpy as np
from numba import njit

from trainables.config import TrainableError

Array = np.ndarray[Any, Any]


def compiled(function: Any) -> Any:
    """Compile a function, or load what was compiled before; raise TrainableError if that can be kept nowhere."""
    try:
        options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}  # contract: fused multiply-add
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError as error:
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        raise TrainableError(f"numba has no place for what it compiles ({error}); {fix}") from None


inlined = njit(inline="always")
ONE, TWO, SIXTEEN = np.uint64(1), np.uint64(2), np.uint64(16)


@inlined
def _patch(x, r, s):  # type: ignore[no-untyped-def]
    """Return the 4x4 patch of the plane ``x`` whose corner is at (r, s), row by row."""
    return (
        x[r, s], x[r, s + 1], x[r, s + 2], x[r, s + 3],
        x[r + 1, s], x[r + 1, s + 1], x[r + 1, s + 2], x[r + 1, s + 3],
        x[r + 2, s], x[r + 2, s + 1], x[r + 2, s + 2], x[r + 2, s + 3],
        x[r + 3, s], x[r + 3, s + 1], x[r + 3, s + 2], x[r + 3, s + 3],
    )  # fmt: skip


@inlined
def _windows(p, w, c):  # type: ignore[no-untyped-def]
    """Return the products of the four 3x3 windows of a patch with channel ``c`` of the weights ``[9, channels]``."""
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0, c], w[1, c], w[2, c], w[3, c], w[4, c], w[5, c], w[6, c], w[7, c], w[8, c]
    return (
        p[0] * w0 + p[1] * w1 + p[2] * w2 + p[4] * w3 + p[5] * w4 + p[6] * w5 + p[8] * w6 + p[9] * w7 + p[10] * w8,
        p[1] * w0 + p[2] * w1 + p[3] * w2 + p[5] * w3 + p[6] * w4 + p[7] * w5 + p[9] * w6 + p[10] * w7 + p[11] * w8,
        p[4] * w0 + p[5] * w1 + p[6] * w2 + p[8] * w3 + p[9] * w4 + p[10] * w5 + p[12] * w6 + p[13] * w7 + p[14] * w8,
        p[5] * w0 + p[6] * w1 + p[7] * w2 + p[9] * w3 + p[10] * w4 + p[11] * w5 + p[13] * w6 + p[14] * w7 + p[15] * w8,
    )


@inlined
def _largest(values):  # type: ignore[no-untyped-def]
    """Return the largest of four values, and which one it is: the first of equals."""
    best, corner = values[0], 0
    if values[1] > best:
        best, corner = values[1], 1
    if values[2] > best:
        best, corner = values[2], 2
    if values[3] > best:
        best, corner = values[3], 3
    return best, corner


@compiled
def forward(
    images: Array,  # [K, B, 2, 14, 14]
    weight1: Array,  # [K, T, 9, 16]
    bias1: Array,  # [K, T, 16]
    weight2: Array,  # [K, T, 16, 9, 32]
    bias2: Array,  # [K, T, 32]
    scale: Array,  # [K, B, 2, 32]
    hidden: Array,  # [K, 2, B, 6, 6, 16], written: output of the first block
    corner1: Array,  # the same, int8, written: the corner that was the largest
    features: Array,  # [K, 2, B, 32, 4], written: output of the second block
    corner2: Array,  # [K, 2, B, 32, 4], int8, written
) -> None:
    """Compute the features of all images."""
    slope = images.dtype.type(0.01)
    sums = np.empty((4, 32), images.dtype)
    for k in range(images.shape[0]):
        for side in range(2):
            tower = min(side, weight1.shape[1] - 1)
            w1, b1, w2, b2 = weight1[k, tower], bias1[k, tower], weight2[k, tower], bias2[k, tower]
            for n in range(images.shape[1]):
                x, h = images[k, n, side], hidden[k, side, n]
                for row in range(6):
                    for column in range(6):
                        patch = _patch(x, 2 * row, 2 * column)
                        for c in range(16):
                            best, corner = _largest(_windows(patch, w1, c))
                            # One addition instead of four: the bias does not change which is largest.
                            best += b1[c]
                            h[row, column, c] = best if best > 0 else best * slope
                            corner1[k, side, n, row, column, c] = corner
                for place in range(4):
                    row, column = 2 * (place // 2), 2 * (place % 2)
                    for c in range(32):
                        sums[0, c] = sums[1, c] = sums[2, c] = sums[3, c] = b2[c]
                    for i in range(16):
                        patch, w = _patch(h[:, :, i], row, column), w2[i]
                        for c in range(32):
                            first, second, third, fourth = _windows(patch, w, c)
                            sums[0, c] += first
                            sums[1, c] += second
                            sums[2, c] += third
                            sums[3, c] += fourth
                    for c in range(32):
                        best, corner = _largest((sums[0, c], sums[1, c], sums[2, c], sums[3, c]))
                        best *= scale[k, n, side, c]
                        features[k, side, n, c, place] = best if best > 0 else best * slope
                        corner2[k, side, n, c, place] = corner


@compiled
def backward(
    gradient: Array,  # [K, 2, B, 32, 4], of the features
    images: Array,
    weight2: Array,  # [K, T, 32, 3, 48]: rows of the window, columns and channels of the first block
    scale: Array,
    hidden: Array,  # [K, 2, B, 6, 6, 16]; the rest as in forward
    corner1: Array,
    features: Array,
    corner2: Array,
    weight1_gradient: Array,  # [K, T, 9, 16], added to
    bias1_gradient: Array,  # [K, T, 16], added to
    weight2_gradient: Array,  # [K, T, 32, 3, 48], added to
    bias2_gradient: Array,  # [K, T, 32], added to
) -> None:
    """Compute the gradients of all weights and biases."""
    slope = images.dtype.type(0.01)
    back = np.empty((6, 6 * 16), images.dtype)  # gradient of an image's ``hidden``
    for k in range(images.shape[0]):
        for side in range(2):
            tower = min(side, weight2.shape[1] - 1)
            w2, g1, d1 = weight2[k, tower], weight1_gradient[k, tower], bias1_gradient[k, tower]
            g2, d2 = weight2_gradient[k, tower], bias2_gradient[k, tower]
            for n in range(images.shape[1]):
                x, h, corners = images[k, n, side], hidden[k, side, n].reshape(6, 6 * 16), corner1[k, side, n]
                # The second block first: its gradients, and what it sends back to the first one.
                back[:] = 0
                for c in range(32):
                    if scale[k, n, side, c] == 0:  # a dropped channel has no gradient
                        continue
                    for place in range(4):
                        g = gradient[k, side, n, c, place] * scale[k, n, side, c]
                        if not features[k, side, n, c, place] > 0:
                            g *= slope
                        d2[c] += g
                        corner = np.uint64(corner2[k, side, n, c, place])
                        top = TWO * np.uint64(place // 2) + (corner >> ONE)
                        left = SIXTEEN * (TWO * np.uint64(place % 2) + (corner & ONE))
                        for i in range(3):
                            r = top + np.uint64(i)
                            for j in range(48):
                                back[r, left + np.uint64(j)] += g * w2[c, i, j]
                            for j in range(48):
                                g2[c, i, j] += g * h[r, left + np.uint64(j)]
                # Then the first block, whose images need no gradient.
                for row in range(6):
                    for column in range(6):
                        p = _patch(x, 2 * row, 2 * column)
                        for c in range(16):
                            g = back[row, 16 * column + c]
                            g = g if h[row, 16 * column + c] > 0 else g * slope
                            d1[c] += g
                            right, low = corners[row, column, c] & 1, corners[row, column, c] > 1
                            # The window of the largest corner: its columns in all four
                            # rows, then its rows.
                            a0, a1, a2 = (p[1], p[2], p[3]) if right else (p[0], p[1], p[2])
                            b0, b1, b2 = (p[5], p[6], p[7]) if right else (p[4], p[5], p[6])
                            c0, c1, c2 = (p[9], p[10], p[11]) if right else (p[8], p[9], p[10])
                            e0, e1, e2 = (p[13], p[14], p[15]) if right else (p[12], p[13], p[14])
                            g1[0, c] += g * (b0 if low else a0)
                            g1[1, c] += g * (b1 if low else a1)
                            g1[2, c] += g * (b2 if low else a2)
                            g1[3, c] += g * (c0 if low else b0)
                            g1[4, c] += g * (c1 if low else b1)
                            g1[5, c] += g * (c2 if low else b2)
                            g1[6, c] += g * (e0 if low else c0)
                            g1[7, c] += g * (e1 if low else c1)
                            g1[8, c] += g * (e2 if low else c2)
