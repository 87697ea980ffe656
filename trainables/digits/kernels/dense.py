"""Matrix products, activations, losses and dropout masks, each for some rows of one replicate.

All arrays are flat, and begin with what a function is to read. Their rows have a length; of a
product, 16 columns are computed at a time, so rows of logits have 16 columns, of which the last are 0.
"""

import numpy as np

from trainables.digits.kernels.convolution import SLOPE, Array, compiled, compiled_once
from trainables.digits.kernels.vectors import WIDTH, full, load, pick, spread, store


@compiled_once("void(array, i8, array, i8, i8, array, i8, i8, i8, i8)")
def add_product(
    y: Array,  # [rows, columns], its rows y_row apart
    y_row: int,
    x: Array,  # [rows, inner], its rows x_row and its columns x_column apart
    x_row: int,
    x_column: int,
    w: Array,  # [inner, columns], its rows w_row apart
    w_row: int,
    rows: int,
    inner: int,
    columns: int,
) -> None:
    """Add the product of x and w to y."""
    whole = rows - rows % 4
    for c in range(0, columns, WIDTH):
        for r in range(0, whole, 4):
            at, a = y_row * r + c, x_row * r
            first, second = load(y, at), load(y, at + y_row)
            third, fourth = load(y, at + 2 * y_row), load(y, at + 3 * y_row)
            for i in range(inner):
                row = load(w, w_row * i + c)
                first += spread(x, a + x_column * i) * row
                second += spread(x, a + x_column * i + x_row) * row
                third += spread(x, a + x_column * i + 2 * x_row) * row
                fourth += spread(x, a + x_column * i + 3 * x_row) * row
            store(y, at, first)
            store(y, at + y_row, second)
            store(y, at + 2 * y_row, third)
            store(y, at + 3 * y_row, fourth)
        for r in range(whole, rows):
            only = load(y, y_row * r + c)
            for i in range(inner):
                only += spread(x, x_row * r + x_column * i) * load(w, w_row * i + c)
            store(y, y_row * r + c, only)


@compiled_once("void(array, i8, array, i8, i8)")
def start_with(y: Array, row: int, bias: Array, n: int, units: int) -> None:
    """Set n rows of y to a bias ``[units]``, and what is beyond it to 0."""
    for r in range(n):
        for o in range(units):
            y[row * r + o] = bias[o]
        for o in range(units, row):
            y[row * r + o] = 0


@compiled_once("void(array, array, i8)")
def activate(y: Array, mask: Array, size: int) -> None:
    """Apply leaky ReLU and a dropout mask."""
    zero, slope = full(y.dtype.type(0)), full(y.dtype.type(SLOPE))
    for at in range(0, size, WIDTH):
        v = load(y, at)
        store(y, at, pick(v, zero, v, v * slope) * load(mask, at))


@compiled_once("void(array, array, array, array, i8, i8)")
def activate_back(dy: Array, y: Array, mask: Array, dbias: Array, n: int, units: int) -> None:
    """Turn the gradient of what ``activate`` gave into that of what it got; add the bias's."""
    zero, slope = full(y.dtype.type(0)), full(y.dtype.type(SLOPE))
    for c in range(0, units, WIDTH):
        total = load(dbias, c)
        for at in range(c, n * units, units):
            g = load(dy, at) * load(mask, at)
            g = pick(load(y, at), zero, g, g * slope)
            store(dy, at, g)
            total += g
        store(dbias, c, total)


@compiled_once("void(array, i8, array, i8, i8, i8)")
def turn(to: Array, to_row: int, of: Array, of_row: int, rows: int, columns: int) -> None:
    """Write the transpose of ``of`` ``[rows, columns]`` to ``to``."""
    for r in range(rows):
        for c in range(columns):
            to[to_row * c + r] = of[of_row * r + c]


@compiled_once("f8(array, array, array, i8[::1], i8, i8, i8, f8)")
def cross_entropy(
    dy: Array, dbias: Array, y: Array, labels: Array, step: int, n: int, classes: int, weight: float
) -> float:
    """Return the sum of the losses of logits ``[n, 16]``, whose labels are ``step`` apart.

    Adds ``weight`` times its gradient to ``dy``, and all of ``dy`` to ``dbias``.
    """
    total = 0.0
    for r in range(0, 16 * n, 16):
        label = labels[step * (r // 16)]
        largest = y[r]
        for c in range(1, classes):
            largest = max(largest, y[r + c])
        below = np.exp(y[r] - largest)
        for c in range(1, classes):
            below += np.exp(y[r + c] - largest)
        total += np.log(below) + largest - y[r + label]
        for c in range(classes):
            dy[r + c] += weight * (np.exp(y[r + c] - largest) / below - (c == label))
            dbias[c] += dy[r + c]
    return total


@compiled
def draw_masks(masks: Array, key: Array, probability: float, start: int, count: int) -> None:
    """Write the numbers of ``dropout_masks`` (layers.py) from ``start`` on, bit by bit."""
    dropped = np.int32(min(np.rint(probability * 2.0**32), 2.0**32 - 1) - 2.0**31)
    kept, zero = masks.dtype.type(np.float32(1 / (1 - probability))), masks.dtype.type(0)
    first, second = np.uint32(key[0]), np.uint32(key[1])
    for i in range(count):
        bits = _mix(np.uint32(_mix(np.uint32(start + i) ^ first) + second))
        masks[i] = kept if np.int32(bits) >= dropped else zero


@compiled
def _mix(x):  # type: ignore[no-untyped-def]
    """Mix 32 bits as ``_mix`` of streams.py does."""
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))
