import hashlib

import pytest
import torch

from trainables.engine.streams import fold, permutations, random_bits, stream_keys, uniform

MASK = 2**32 - 1
SEEDS = [0, 1, 7, 2**40]


# The streams again, in plain unsigned Python integers.
def mix(x):
    x ^= x >> 16
    x = x * 0x7FEB352D & MASK
    x ^= x >> 15
    x = x * 0x846CA68B & MASK
    return x ^ x >> 16


def expected_key(seed, purpose):
    digest = hashlib.blake2b(f"{purpose}/{seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def expected_bits(key, counters):
    return [mix((mix(counter ^ key[0]) + key[1]) & MASK) for counter in counters]


def unsigned(tensor):
    return (tensor.long() & MASK).tolist()


def test_these_numbers_never_change():
    # Results in a store stay comparable across versions only while a seed keeps its numbers.
    keys = stream_keys([0], "data")
    assert permutations(keys, 10).tolist() == [[9, 8, 2, 1, 0, 4, 7, 5, 6, 3]]
    assert random_bits(fold(keys, 1), 3).tolist() == [[-785896332, 1028277221, -1861966735]]


def test_keys_are_the_halves_of_the_digest():
    assert unsigned(stream_keys(SEEDS, "order")) == [list(expected_key(seed, "order")) for seed in SEEDS]


def test_bits_are_those_of_unsigned_arithmetic():
    bits = random_bits(stream_keys(SEEDS, "order"), 300)
    assert unsigned(bits) == [expected_bits(expected_key(seed, "order"), range(300)) for seed in SEEDS]


def test_uniform_is_the_upper_24_bits():
    values = uniform(stream_keys(SEEDS, "dropout"), 300)
    bits = [expected_bits(expected_key(seed, "dropout"), range(300)) for seed in SEEDS]
    assert values.dtype == torch.float32
    assert values.tolist() == [[(word >> 8) / 2**24 for word in row] for row in bits]


@pytest.mark.parametrize("counter", [0, 1, 5000])
def test_fold_takes_the_two_words_at_twice_the_counter(counter):
    folded = fold(stream_keys(SEEDS, "dropout"), counter)
    words = (2 * counter, 2 * counter + 1)
    assert folded.dtype == torch.int32
    assert unsigned(folded) == [expected_bits(expected_key(seed, "dropout"), words) for seed in SEEDS]


def test_permutations_sort_the_unsigned_bits_as_signed():
    order = permutations(stream_keys([3], "data"), 500)[0].tolist()
    bits = expected_bits(expected_key(3, "data"), range(500))
    assert order == sorted(range(500), key=lambda i: bits[i] - 2**32 * (bits[i] >= 2**31))


@pytest.mark.parametrize("stack", [[5], [5, 6], [9, 5, 2, 5], list(range(20))])
def test_a_seed_has_the_same_numbers_in_any_stack(stack):
    alone = stream_keys([5], "order")
    stacked, row = stream_keys(stack, "order"), stack.index(5)
    for draw in (random_bits, uniform, permutations):
        assert torch.equal(draw(stacked, 1000)[row], draw(alone, 1000)[0])
        assert torch.equal(draw(fold(stacked, 3), 1000)[row], draw(fold(alone, 3), 1000)[0])


def test_a_longer_draw_begins_with_the_shorter_one():
    keys = stream_keys(SEEDS, "dropout")
    assert torch.equal(random_bits(keys, 100)[:, :40], random_bits(keys, 40))


def test_drawing_leaves_the_keys_as_they_were():
    keys = stream_keys(SEEDS, "dropout")
    before = keys.clone()
    fold(keys, 2), uniform(keys, 10), permutations(keys, 10)
    assert torch.equal(keys, before)


def test_no_seeds_make_an_empty_stack():
    assert uniform(stream_keys([], "data"), 4).shape == (0, 4)


def test_purposes_and_folds_are_distinct_streams():
    keys = [stream_keys(SEEDS, purpose) for purpose in ("data", "data/test", "order", "dropout")]
    keys += [fold(keys[2], counter) for counter in range(1000)]
    rows = torch.cat(keys)
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize("count", [1, 2, 257, 60_000])
def test_permutations_hold_every_index_once(count):
    order = permutations(stream_keys(SEEDS, "data"), count)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort(dim=1).values, torch.arange(count).expand(len(SEEDS), count))


# The seeds below are fixed, so these cannot fail by chance; their bounds are five standard errors.
def test_uniform_has_the_moments_of_the_uniform_distribution():
    values = uniform(stream_keys(range(10), "dropout"), 100_000).double().flatten()
    assert 0 <= values.min() < 1e-4
    assert 1 - 1e-4 < values.max() < 1
    assert abs(values.mean() - 1 / 2) < 5 * (1 / 12 / len(values)) ** 0.5
    assert abs((values - 0.5).square().mean() - 1 / 12) < 5 * (1 / 180 / len(values)) ** 0.5


def test_every_bit_is_set_half_of_the_time():
    bits = random_bits(stream_keys(range(10), "dropout"), 10_000).flatten()
    shares = torch.stack([(bits >> place & 1).double().mean() for place in range(32)])
    assert (shares - 0.5).abs().max() < 5 * 0.5 / len(bits) ** 0.5


@pytest.mark.parametrize("neighbours", ["seeds", "folds"])
def test_neighbouring_streams_are_uncorrelated(neighbours):
    keys = stream_keys(range(30), "dropout")
    if neighbours == "folds":
        keys = torch.cat([fold(keys[:1], counter) for counter in range(30)])
    correlation = torch.corrcoef(uniform(keys, 20_000).double())
    assert (correlation - torch.eye(30)).abs().max() < 5 / 20_000**0.5


def test_neighbouring_values_fill_the_square_evenly():
    values = uniform(stream_keys([0], "dropout"), 200_001)[0]
    cells = (values * 16).long()
    counts = torch.bincount(16 * cells[:-1] + cells[1:], minlength=256).double()
    chi_square = ((counts - counts.mean()).square() / counts.mean()).sum()
    assert abs(chi_square - 255) < 5 * (2 * 255) ** 0.5


def test_permutations_put_every_index_everywhere():
    orders = permutations(stream_keys(range(5000), "data"), 10)
    counts = torch.stack([torch.bincount(place, minlength=10) for place in orders.unbind(1)]).double()
    chi_square = ((counts - 500).square() / 500).sum()
    assert abs(chi_square - 81) < 5 * (2 * 81) ** 0.5
