"""Both convolution blocks, forward and backward.

A block is a 3x3 convolution without padding, a 2x2 max-pool, a channel scale (dropout's) and
leaky ReLU. One image fits into a core's first cache, so each goes through both blocks before the
next. Arrays have channels last: a vector holds channels, and an input value is spread over all of
them. A pooled output needs a 4x4 patch, whose four windows share their loads.

Backward, only the largest corner of a window has a gradient: a quarter of the products of a
convolution's ordinary backward pass, and none for channels that dropout has dropped.

All arrays are flat: shapes say how they are read. PyTorch's rules hold: the first of equal
corners wins, and leaky ReLU has its slope at 0.
"""

from functools import partial
from typing import Any

import numpy as np
from numba import njit

from trainables.config import TrainableError
from trainables.digits.kernels.vectors import WIDTH, full, load, pick, spread, store

Array = np.ndarray[Any, Any]

inlined = njit(inline="always")
SLOPE = 0.01
GROUP = 4  # images whose hidden values stay in the first cache while all weights are visited


def compiled(function: Any, signatures: list[str] | None = None) -> Any:
    """Compile a function, or load what was compiled before; raise TrainableError if that can be kept nowhere."""
    try:
        options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}  # contract: fused multiply-add
        return njit(signatures, cache=True, nogil=True, **options)(function)
    except RuntimeError as error:
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        raise TrainableError(f"numba has no place for what it compiles ({error}); {fix}") from None


def compiled_once(signature: str) -> Any:
    """Return a decorator that compiles a function for single and double precision only, not for each constant."""
    return partial(compiled, signatures=[signature.replace("array", f"{number}[::1]") for number in ("f4", "f8")])


@inlined
def _patch(x, at, row, step):  # type: ignore[no-untyped-def]
    """Return the 4x4 patch of ``x`` that begins at ``at``: numbers are ``step`` apart, and rows ``row``."""
    b, c, d = at + row, at + 2 * row, at + 3 * row
    return (
        spread(x, at), spread(x, at + step), spread(x, at + 2 * step), spread(x, at + 3 * step),
        spread(x, b), spread(x, b + step), spread(x, b + 2 * step), spread(x, b + 3 * step),
        spread(x, c), spread(x, c + step), spread(x, c + 2 * step), spread(x, c + 3 * step),
        spread(x, d), spread(x, d + step), spread(x, d + 2 * step), spread(x, d + 3 * step),
    )  # fmt: skip


@inlined
def _window(x, at, row):  # type: ignore[no-untyped-def]
    """Return the 3x3 window of ``x`` ``[rows, columns, 16]`` that begins at ``at``; rows are ``row`` apart."""
    b, c = at + row, at + 2 * row
    return (
        load(x, at), load(x, at + 16), load(x, at + 32),
        load(x, b), load(x, b + 16), load(x, b + 32),
        load(x, c), load(x, c + 16), load(x, c + 32),
    )  # fmt: skip


@inlined
def _put(x, at, row, w):  # type: ignore[no-untyped-def]
    """Write nine vectors to a window."""
    b, c = at + row, at + 2 * row
    store(x, at, w[0])
    store(x, at + 16, w[1])
    store(x, at + 32, w[2])
    store(x, b, w[3])
    store(x, b + 16, w[4])
    store(x, b + 32, w[5])
    store(x, c, w[6])
    store(x, c + 16, w[7])
    store(x, c + 32, w[8])


@inlined
def _add(w, g, v):  # type: ignore[no-untyped-def]
    """Add ``g`` times each of nine vectors to nine others."""
    return (
        w[0] + g * v[0], w[1] + g * v[1], w[2] + g * v[2],
        w[3] + g * v[3], w[4] + g * v[4], w[5] + g * v[5],
        w[6] + g * v[6], w[7] + g * v[7], w[8] + g * v[8],
    )  # fmt: skip


@inlined
def _add_windows(sums, p, w, at, step):  # type: ignore[no-untyped-def]
    """Add a patch's four windows times the nine weights from ``at`` on, ``step`` apart, to four sums."""
    w0, w1, w2 = load(w, at), load(w, at + step), load(w, at + 2 * step)
    w3, w4, w5 = load(w, at + 3 * step), load(w, at + 4 * step), load(w, at + 5 * step)
    w6, w7, w8 = load(w, at + 6 * step), load(w, at + 7 * step), load(w, at + 8 * step)
    a, b, d, e = sums
    return (
        a + p[0] * w0 + p[1] * w1 + p[2] * w2 + p[4] * w3 + p[5] * w4 + p[6] * w5 + p[8] * w6 + p[9] * w7 + p[10] * w8,
        b + p[1] * w0 + p[2] * w1 + p[3] * w2 + p[5] * w3 + p[6] * w4 + p[7] * w5 + p[9] * w6 + p[10] * w7 + p[11] * w8,
        d
        + p[4] * w0
        + p[5] * w1
        + p[6] * w2
        + p[8] * w3
        + p[9] * w4
        + p[10] * w5
        + p[12] * w6
        + p[13] * w7
        + p[14] * w8,
        e
        + p[5] * w0
        + p[6] * w1
        + p[7] * w2
        + p[9] * w3
        + p[10] * w4
        + p[11] * w5
        + p[13] * w6
        + p[14] * w7
        + p[15] * w8,
    )


@inlined
def _largest(v, zero, one):  # type: ignore[no-untyped-def]
    """Return the largest of four vectors, and which one it is (0 to 3): the first of equals."""
    best, corner = pick(v[1], v[0], v[1], v[0]), pick(v[1], v[0], one, zero)
    best, corner = pick(v[2], best, v[2], best), pick(v[2], best, one + one, corner)
    best, corner = pick(v[3], best, v[3], best), pick(v[3], best, one + one + one, corner)
    return best, corner


@compiled
def first_block(x: Array, weight: Array, bias: Array, hidden: Array, corners: Array) -> None:
    """Fill ``hidden`` and ``corners`` ``[6, 6, 16]`` of an image ``[14, 14]``; weights are ``[9, 16]``."""
    zero, one, slope = full(hidden.dtype.type(0)), full(hidden.dtype.type(1)), full(hidden.dtype.type(SLOPE))
    for place in range(36):
        patch = _patch(x, 28 * (place // 6) + 2 * (place % 6), 14, 1)
        best, corner = _largest(_add_windows((zero, zero, zero, zero), patch, weight, 0, 16), zero, one)
        # One addition instead of four: the bias does not change which is largest.
        best += load(bias, 0)
        store(hidden, 16 * place, pick(best, zero, best, best * slope))
        store(corners, 16 * place, corner)


@compiled
def second_block(hidden: Array, weight: Array, bias: Array, scale: Array, features: Array, corners: Array) -> None:
    """Fill ``features`` ``[32, 4]`` and ``corners`` ``[4, 32]`` of an image; weights are ``[16, 9, 32]``."""
    zero, one, slope = full(hidden.dtype.type(0)), full(hidden.dtype.type(1)), full(hidden.dtype.type(SLOPE))
    pooled = np.empty(4 * 32, hidden.dtype)
    for place in range(4):
        at = 192 * (place // 2) + 32 * (place % 2)
        for c in range(0, 32, WIDTH):
            start = load(bias, c)
            sums = (start, start, start, start)
            for i in range(16):
                sums = _add_windows(sums, _patch(hidden, at + i, 96, 16), weight, 288 * i + c, 32)
            best, corner = _largest(sums, zero, one)
            best *= load(scale, c)
            store(corners, 32 * place + c, corner)
            store(pooled, 32 * place + c, pick(best, zero, best, best * slope))
    for c in range(32):
        for place in range(4):
            features[4 * c + place] = pooled[32 * place + c]


@compiled
def second_block_back(
    gradient: Array,  # [N, 2, 32, 4], of the features; only the first side is read
    features: Array,  # [N, 2, 32, 4]
    scale: Array,  # [N, 2, 32]
    hidden: Array,  # [N, 6, 6, 16]
    corners: Array,  # [N, 4, 32]
    weight: Array,  # [32, 9, 16]
    weight_gradient: Array,  # [32, 9, 16], added to
    bias_gradient: Array,  # [32], added to
    back: Array,  # [N, 6, 6, 16], written: gradient of ``hidden``
    images: int,  # N, at most GROUP
) -> None:
    """Compute the gradients of the second block."""
    slope = back.dtype.type(SLOPE)
    # A sum is loaded and stored once for many products: for each channel the windows of ``hidden``
    # that it saw, and for each window the channels that send their gradient back to it.
    seen_at, values = np.empty(4 * GROUP, np.int64), np.empty(4 * GROUP, back.dtype)
    count = np.zeros(16 * GROUP, np.int64)  # by image, place and corner
    channels, amounts = np.empty(512 * GROUP, np.int64), np.empty(512 * GROUP, back.dtype)
    for c in range(32):
        seen = 0
        for n in range(images):
            if scale[64 * n + c] == 0:  # a dropped channel has no gradient
                continue
            for place in range(4):
                g = gradient[256 * n + 4 * c + place] * scale[64 * n + c]
                g = g if features[256 * n + 4 * c + place] > 0 else g * slope
                bias_gradient[c] += g
                corner = int(corners[128 * n + 32 * place + c])
                seen_at[seen] = 576 * n + 96 * (2 * (place // 2) + corner // 2) + 16 * (2 * (place % 2) + corner % 2)
                values[seen] = g
                seen += 1
                window = 16 * n + 4 * place + corner
                channels[32 * window + count[window]] = c
                amounts[32 * window + count[window]] = g
                count[window] += 1
        sums = _window(weight_gradient, 144 * c, 48)
        for m in range(seen):
            sums = _add(sums, spread(values, m), _window(hidden, seen_at[m], 96))
        _put(weight_gradient, 144 * c, 48, sums)

    back[: 576 * images] = 0
    for window in range(16 * images):
        place, corner = window // 4 % 4, window % 4
        at = 576 * (window // 16) + 96 * (2 * (place // 2) + corner // 2) + 16 * (2 * (place % 2) + corner % 2)
        sums = _window(back, at, 96)
        for m in range(32 * window, 32 * window + count[window]):
            sums = _add(sums, spread(amounts, m), _window(weight, 144 * channels[m], 48))
        _put(back, at, 96, sums)


@compiled
def first_block_back(
    x: Array, back: Array, hidden: Array, corners: Array, weight_gradient: Array, bias_gradient: Array, by_corner: Array
) -> None:
    """Add an image's gradients of the first block, ``[9, 16]`` and ``[16]``; the image needs none."""
    zero, slope, half = full(back.dtype.type(0)), full(back.dtype.type(SLOPE)), full(back.dtype.type(0.5))
    one_and_half, two_and_half = full(back.dtype.type(1.5)), full(back.dtype.type(2.5))
    total = load(bias_gradient, 0)
    for place in range(36):
        g = load(back, 16 * place)
        g = pick(load(hidden, 16 * place), zero, g, g * slope)
        total += g
        # The gradient in each of the four corners: 0 where another one was the largest.
        corner = load(corners, 16 * place)
        upper, lower = pick(corner, one_and_half, zero, g), pick(corner, one_and_half, g, zero)
        store(by_corner, 64 * place, pick(corner, half, zero, upper))
        store(by_corner, 64 * place + 16, pick(corner, half, upper, zero))
        store(by_corner, 64 * place + 32, pick(corner, two_and_half, zero, lower))
        store(by_corner, 64 * place + 48, pick(corner, two_and_half, lower, zero))
    store(bias_gradient, 0, total)

    for i in range(3):  # a row of weights at a time: three sums fit into registers
        a, b, c = load(weight_gradient, 48 * i), load(weight_gradient, 48 * i + 16), load(weight_gradient, 48 * i + 32)
        for place in range(36):
            for low in range(2):
                at = 14 * (2 * (place // 6) + i + low) + 2 * (place % 6)
                p, q, r, s = spread(x, at), spread(x, at + 1), spread(x, at + 2), spread(x, at + 3)
                left, right = load(by_corner, 64 * place + 32 * low), load(by_corner, 64 * place + 32 * low + 16)
                a += p * left + q * right
                b += q * left + r * right
                c += r * left + s * right
        store(weight_gradient, 48 * i, a)
        store(weight_gradient, 48 * i + 16, b)
        store(weight_gradient, 48 * i + 32, c)
