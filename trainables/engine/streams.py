"""Counter-based random streams: bits as a pure function of (seed, purpose, counter).

No generator has state, so a seed's numbers cannot depend on its stack, cell, worker or device,
and a resumed training continues with the same bits. The idea is that of Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3" (SC 2011); the mixing function is lowbias32 of
Wellons's "Prospecting for hash functions" (2018), applied twice with one word of the key before
each round. It is int32 arithmetic modulo 2**32, which gives the same bits on every device.
"""

import hashlib
import struct
from collections.abc import Sequence

import torch
from torch import Tensor


def stream_keys(seeds: Sequence[int], purpose: str, device: torch.device | str = "cpu") -> Tensor:
    """Return the keys ``[K, 2]`` (int32) of the stream ``purpose`` for each of K seeds."""
    # A cryptographic hash, so that neighbouring seeds and purposes have unrelated keys.
    digests = [hashlib.blake2b(f"{purpose}/{seed}".encode(), digest_size=8).digest() for seed in seeds]
    words = [struct.unpack("<2i", digest) for digest in digests]
    return torch.tensor(words, dtype=torch.int32, device=device).reshape(-1, 2)


def fold(keys: Tensor, counter: int | Tensor) -> Tensor:
    """Derive the keys ``[K, 2]`` of sub-stream ``counter`` (an epoch, a step) of each key."""
    # A counter that is a tensor (one int32) can change between replays of a CUDA graph.
    first, second = keys.unbind(1)
    counters = torch.arange(2, dtype=torch.int32, device=keys.device) + 2 * counter
    return _mix(_mix(counters ^ first[:, None]) + second[:, None])


def random_bits(keys: Tensor, count: int) -> Tensor:
    """Return ``[K, count]`` uniform int32: value i of row k depends only on keys[k] and i."""
    counters = torch.arange(count, dtype=torch.int32, device=keys.device)
    return _mix(_mix(counters ^ keys[:, :1]).add_(keys[:, 1:]))


def uniform(keys: Tensor, count: int) -> Tensor:
    """Return ``[K, count]`` float32, uniform on the multiples of 2**-24 in [0, 1)."""
    return ((random_bits(keys, count) >> 8) & 0xFFFFFF).float() * 2.0**-24


def permutations(keys: Tensor, count: int) -> Tensor:
    """Return ``[K, count]`` int64, a random order of range(count) in each row."""
    # For one key the mixing is a bijection: no two values tie, so all devices sort them alike.
    return random_bits(keys, count).argsort(dim=1)


def _mix(x: Tensor) -> Tensor:
    # int32 >> copies the sign bit; the masks make the shifts logical ones.
    x = x ^ ((x >> 16) & 0xFFFF)
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x *= 0x846CA68B - 2**32
    x ^= (x >> 16) & 0xFFFF
    return x
