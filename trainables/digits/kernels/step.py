"""A training step and an evaluation of one replicate of the report's networks.

Pairs go through the whole network in small groups, forward and backward, so that what they leave
behind stays in a core's second cache. Parameters and gradients are a row ``[P]`` each; all else is
in one array, the memory ``m``, whose places have the names of this module.
"""

from itertools import accumulate

from trainables.digits.kernels.convolution import (
    GROUP,
    Array,
    compiled,
    first_block,
    first_block_back,
    second_block,
    second_block_back,
)
from trainables.digits.kernels.dense import (
    activate,
    activate_back,
    add_product,
    cross_entropy,
    draw_masks,
    start_with,
    turn,
)

PAIRS = 20  # pairs in a group, N below
OF_TOWER, OF_PAIR = 13_706, 20_290  # parameters of one tower, and of the layers that read both images

# Weights in the orders in which they are read, [in, out] but for the last two; two towers of each.
_WEIGHTS = (2 * 144, 2 * 4608, 2 * 8192, 2 * 1024, 256 * 64, 64 * 32, 52 * 32, 32 * 16, 2 * 4608, 2 * 512)
(CONV1, CONV2, DIGIT1, DIGIT2, COMPARE1, COMPARE2, OUTPUT1, OUTPUT2, CONV2_BACK, LOGITS_BACK, *_) = accumulate(
    (0, *_WEIGHTS)
)
# Gradients in the backward pass's order: [9, 16], [32, 9, 16], and of output1 [32, 16] for an image's logits.
DCONV1 = LOGITS_BACK + 1024
DCONV2 = DCONV1 + 2 * 144
DLOGITS = DCONV2 + 2 * 4608
# What each layer gives for N pairs: features [N, 2, 128], digit1 [2, N, 64], logits [2, N, 16], and of the pair
# [N, 64], [N, 32], [N, 32], [N, 16]. Then masks and gradients of the same, in the same order; then the convolutions'.
_LAYERS = tuple(PAIRS * units for units in (256, 128, 32, 64, 32, 32, 16))
OUT = DLOGITS + 1024
FEATURES, DIGITS1, DIGITS2, COMPARED1, COMPARED2, LAST, TARGET, LAYERS = accumulate((0, *_LAYERS))
MASK, BACK = OUT + LAYERS, OUT + 2 * LAYERS
HIDDEN = OUT + 3 * LAYERS  # [2, N, 6, 6, 16], as the next two
CORNERS1, DHIDDEN = HIDDEN + PAIRS * 1152, HIDDEN + 2 * PAIRS * 1152
CORNERS2 = HIDDEN + 3 * PAIRS * 1152  # [2, N, 4, 32]
BY_CORNER = CORNERS2 + PAIRS * 256
MEMORY = BY_CORNER + 36 * 64


@compiled
def turn_weights(m: Array, p: Array, towers: int, joint: bool) -> None:
    """Copy the weights, and set the gradients that are computed in another order to 0."""
    for t in range(towers):
        conv2 = p[160 * towers + 4608 * t :]
        turn(m[CONV1 + 144 * t :], 16, p[144 * t :], 9, 16, 9)
        turn(m[CONV2 + 4608 * t :], 32, conv2, 144, 32, 144)
        turn(m[DIGIT1 + 8192 * t :], 64, p[4800 * towers + 8192 * t :], 128, 64, 128)
        turn(m[DIGIT2 + 1024 * t :], 16, p[13056 * towers + 640 * t :], 64, 10, 64)
        for c in range(32):
            turn(m[CONV2_BACK + 4608 * t + 144 * c :], 16, conv2[144 * c :], 9, 16, 9)
    m[DCONV1:OUT] = 0
    if joint:
        q = p[OF_TOWER * towers :]
        turn(m[COMPARE1:], 64, q, 256, 64, 256)
        turn(m[COMPARE2:], 32, q[16448:], 64, 32, 64)
        turn(m[OUTPUT1:], 32, q[18528:], 52, 32, 52)
        turn(m[OUTPUT2:], 16, q[20224:], 32, 2, 32)
        for side in range(2):
            turn(m[LOGITS_BACK + 512 * side :], 16, m[OUTPUT1 + 320 * side + 1024 :], 32, 10, 32)


@compiled
def turn_gradients_back(g: Array, m: Array, towers: int, joint: bool) -> None:
    """Put the gradients that were computed in another order into that of the parameters."""
    for t in range(towers):
        turn(g[144 * t :], 9, m[DCONV1 + 144 * t :], 16, 9, 16)
        for c in range(32):
            at = 4608 * t + 144 * c
            turn(g[160 * towers + at :], 9, m[DCONV2 + at :], 16, 9, 16)
    if joint:
        for side in range(2):
            for o in range(32):
                for i in range(10):
                    g[OF_TOWER * towers + 18560 + 10 * side + 52 * o + i] = m[DLOGITS + 512 * side + 16 * o + i]


@compiled
def draw_all_masks(m: Array, key: Array, probability: float, start: int, n: int, b: int) -> None:
    """Draw the masks of n pairs from ``start`` on, of a batch of ``b``."""
    draw_masks(m[MASK:], key, probability, 64 * start, 64 * n)  # of channels, [N, 2, 32]
    for side in range(2):
        at = MASK + DIGITS1 + 64 * PAIRS * side
        draw_masks(m[at:], key, probability, 64 * (b + side * b + start), 64 * n)
    draw_masks(m[MASK + COMPARED1 :], key, probability, 64 * (3 * b + start), 64 * n)
    draw_masks(m[MASK + COMPARED2 :], key, probability, 32 * (8 * b + start), 32 * n)
    draw_masks(m[MASK + LAST :], key, probability, 32 * (9 * b + start), 32 * n)


@compiled
def read_digits(m: Array, p: Array, images: Array, n: int, towers: int) -> None:
    """Compute features and digit logits of n pairs of images."""
    for side in range(2):
        t = min(side, towers - 1)
        for i in range(n):
            image, h = 2 * i + side, 576 * (PAIRS * side + i)
            first_block(
                images[196 * image :],
                m[CONV1 + 144 * t :],
                p[144 * towers + 16 * t :],
                m[HIDDEN + h :],
                m[CORNERS1 + h :],
            )
            second_block(
                m[HIDDEN + h :], m[CONV2 + 4608 * t :], p[4768 * towers + 32 * t :], m[MASK + 32 * image :],
                m[OUT + 128 * image :], m[CORNERS2 + 128 * (PAIRS * side + i) :],
            )  # fmt: skip
        units = DIGITS1 + 64 * PAIRS * side
        hidden, logits = m[OUT + units :], m[OUT + DIGITS2 + 16 * PAIRS * side :]
        start_with(hidden, 64, p[12992 * towers + 64 * t :], n, 64)
        add_product(hidden, 64, m[OUT + 128 * side :], 256, 1, m[DIGIT1 + 8192 * t :], 64, n, 128, 64)
        activate(hidden, m[MASK + units :], 64 * n)
        start_with(logits, 16, p[13696 * towers + 10 * t :], n, 10)
        add_product(logits, 16, hidden, 64, 1, m[DIGIT2 + 1024 * t :], 16, n, 64, 16)


@compiled
def compare(m: Array, q: Array, n: int) -> None:
    """Compute the target's logits of n pairs; ``q`` has the parameters of the layers that read both images."""
    compared1, compared2, last, target = m[OUT + COMPARED1 :], m[OUT + COMPARED2 :], m[OUT + LAST :], m[OUT + TARGET :]
    start_with(compared1, 64, q[16384:], n, 64)
    add_product(compared1, 64, m[OUT:], 256, 1, m[COMPARE1:], 64, n, 256, 64)
    activate(compared1, m[MASK + COMPARED1 :], 64 * n)
    start_with(compared2, 32, q[18496:], n, 32)
    add_product(compared2, 32, compared1, 64, 1, m[COMPARE2:], 32, n, 64, 32)
    activate(compared2, m[MASK + COMPARED2 :], 32 * n)
    start_with(last, 32, q[20192:], n, 32)
    add_product(last, 32, compared2, 32, 1, m[OUTPUT1:], 32, n, 32, 32)
    for side in range(2):
        logits = m[OUT + DIGITS2 + 16 * PAIRS * side :]
        add_product(last, 32, logits, 16, 1, m[OUTPUT1 + 1024 + 320 * side :], 32, n, 10, 32)
    activate(last, m[MASK + LAST :], 32 * n)
    start_with(target, 16, q[20288:], n, 2)
    add_product(target, 16, last, 32, 1, m[OUTPUT2:], 16, n, 32, 16)


@compiled
def compare_back(m: Array, q: Array, g: Array, n: int) -> None:
    """Add the gradients of those layers, ``g``, and what they send back to features and digit logits."""
    out, back, mask = m[OUT:], m[BACK:], m[MASK:]
    add_product(g[20224:], 32, back[TARGET:], 1, 16, out[LAST:], 32, 2, n, 32)
    add_product(back[LAST:], 32, back[TARGET:], 16, 1, q[20224:], 32, n, 2, 32)
    activate_back(back[LAST:], out[LAST:], mask[LAST:], g[20192:], n, 32)
    add_product(g[18528:], 52, back[LAST:], 1, 32, out[COMPARED2:], 32, 32, n, 32)
    add_product(back[COMPARED2:], 32, back[LAST:], 32, 1, q[18528:], 52, n, 32, 32)
    for side in range(2):
        at = DIGITS2 + 16 * PAIRS * side
        add_product(m[DLOGITS + 512 * side :], 16, back[LAST:], 1, 32, out[at:], 16, 32, n, 16)
        add_product(back[at:], 16, back[LAST:], 32, 1, m[LOGITS_BACK + 512 * side :], 16, n, 32, 16)
    activate_back(back[COMPARED2:], out[COMPARED2:], mask[COMPARED2:], g[18496:], n, 32)
    add_product(g[16448:], 64, back[COMPARED2:], 1, 32, out[COMPARED1:], 64, 32, n, 64)
    add_product(back[COMPARED1:], 64, back[COMPARED2:], 32, 1, q[16448:], 64, n, 32, 64)
    activate_back(back[COMPARED1:], out[COMPARED1:], mask[COMPARED1:], g[16384:], n, 64)
    add_product(g, 256, back[COMPARED1:], 1, 64, out, 256, 64, n, 256)
    add_product(back, 256, back[COMPARED1:], 64, 1, q, 256, n, 64, 256)


@compiled
def read_digits_back(m: Array, p: Array, g: Array, images: Array, n: int, towers: int) -> None:
    """Add the gradients that those of digit logits and features send back to the weights."""
    out, back, mask = m[OUT:], m[BACK:], m[MASK:]
    for side in range(2):
        t = min(side, towers - 1)
        units, logits = DIGITS1 + 64 * PAIRS * side, DIGITS2 + 16 * PAIRS * side
        add_product(g[13056 * towers + 640 * t :], 64, back[logits:], 1, 16, out[units:], 64, 10, n, 64)
        add_product(back[units:], 64, back[logits:], 16, 1, p[13056 * towers + 640 * t :], 64, n, 10, 64)
        activate_back(back[units:], out[units:], mask[units:], g[12992 * towers + 64 * t :], n, 64)
        at = 4800 * towers + 8192 * t
        add_product(g[at:], 128, back[units:], 1, 64, out[128 * side :], 256, 64, n, 128)
        add_product(back[128 * side :], 256, back[units:], 64, 1, p[at:], 128, n, 64, 128)
        for i in range(0, n, GROUP):
            h, place, image = 576 * (PAIRS * side + i), CORNERS2 + 128 * (PAIRS * side + i), 2 * i + side
            second_block_back(
                back[128 * image :], out[128 * image :], mask[32 * image :], m[HIDDEN + h :], m[place:],
                m[CONV2_BACK + 4608 * t :], m[DCONV2 + 4608 * t :], g[4768 * towers + 32 * t :], m[DHIDDEN + h :],
                min(GROUP, n - i),
            )  # fmt: skip
        for i in range(n):
            h = 576 * (PAIRS * side + i)
            first_block_back(
                images[196 * (2 * i + side) :], m[DHIDDEN + h :], m[HIDDEN + h :], m[CORNERS1 + h :],
                m[DCONV1 + 144 * t :], g[144 * towers + 16 * t :], m[BY_CORNER:],
            )  # fmt: skip


@compiled
def step(
    p: Array,  # [P]
    g: Array,  # [P], gradients, written
    images: Array,  # [B * 2 * 14 * 14], as all arrays flat
    digits: Array,  # [B * 2]
    target: Array,  # [B]
    key: Array,  # [2], of the masks of this step
    dropout: float,
    on_digits: float,  # the weight of the mean loss of both digits
    m: Array,  # [MEMORY]
) -> float:
    """Return a replicate's mean loss of a batch, and compute its gradients."""
    joint = len(p) > 2 * OF_TOWER
    towers, b, loss = (len(p) - OF_PAIR) // OF_TOWER if joint else 1, len(target), 0.0
    turn_weights(m, p, towers, joint)
    g[:] = 0
    for start in range(0, b, PAIRS):
        n, x, labels = min(PAIRS, b - start), images[392 * start :], digits[2 * start :]
        draw_all_masks(m, key, dropout, start, n, b)
        read_digits(m, p, x, n, towers)
        m[BACK:HIDDEN] = 0
        if joint:
            q, h = p[OF_TOWER * towers :], g[OF_TOWER * towers :]
            compare(m, q, n)
            loss += cross_entropy(m[BACK + TARGET :], h[20288:], m[OUT + TARGET :], target[start:], 1, n, 2, 1 / b)
            compare_back(m, q, h, n)
        for side in range(2):
            at, bias = DIGITS2 + 16 * PAIRS * side, g[13696 * towers + 10 * min(side, towers - 1) :]
            own = cross_entropy(m[BACK + at :], bias, m[OUT + at :], labels[side:], 2, n, 10, on_digits / 2 / b)
            loss += on_digits / 2 * own
        read_digits_back(m, p, g, x, n, towers)
    turn_gradients_back(g, m, towers, joint)
    return loss / b


@compiled
def answer(p: Array, images: Array, target: Array, digits: Array, m: Array) -> None:
    """Write the logits ``[B, 2]``, if the network has them, and ``[2, B, 10]`` of an evaluation."""
    joint, b = len(p) > 2 * OF_TOWER, len(digits) // 20
    towers = (len(p) - OF_PAIR) // OF_TOWER if joint else 1
    turn_weights(m, p, towers, joint)
    m[MASK:BACK] = 1
    for start in range(0, b, PAIRS):
        n = min(PAIRS, b - start)
        read_digits(m, p, images[392 * start :], n, towers)
        for side in range(2):
            for i in range(n):
                logits = OUT + DIGITS2 + 16 * (PAIRS * side + i)
                for c in range(10):
                    digits[10 * (b * side + start + i) + c] = m[logits + c]
        if joint:
            compare(m, p[OF_TOWER * towers :], n)
            for i in range(n):
                for c in range(2):
                    target[2 * (start + i) + c] = m[OUT + TARGET + 16 * i + c]
