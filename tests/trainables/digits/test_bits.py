"""The built-in networks give the bits that their number, ``BITS``, stands for.

Bits depend on the processor and on the versions of what computes, so each such machine has its own line in
tests/data/bits.json. To renew it after BITS was raised, or to add a machine, run
``python -m tests.trainables.digits.test_bits``.
"""

import hashlib
import json
import struct
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from llvmlite.binding import get_host_cpu_name

from trainables.digits.mnist import load_pool
from trainables.digits.settings import BITS, CellConfig
from trainables.registry import start_training

FILE = Path(__file__).parents[2] / "data" / "bits.json"
SMALL = {"train_pairs": 100, "test_pairs": 50, "batch_size": 20, "max_epochs": 2}
CELLS = (
    {"model": "comparator", "sharing": True, "aux_weight": 1.0, "dropout": 0.5},
    {"model": "comparator", "batch_norm": True, "shift": 1, "pairing": "renewed"},
    {"model": "classifier", "sharing": True, "optimizer": "sgd", "momentum": 0.9},
)


def machine():
    """What the bits depend on beside the code."""
    return f"torch {version('torch')}, numba {version('numba')}, {get_host_cpu_name()}"


def bits():
    """Return twelve hex digits of the SHA-256 of all figures of short trainings."""
    digest = hashlib.sha256()
    pool = load_pool("mnist5k")
    for settings in CELLS:
        for records in start_training({CellConfig(**settings, **SMALL): (0, 1)}, pool):
            for record in records:
                for name, value in sorted(record.figures.items()):
                    digest.update(name.encode() + struct.pack("<d", value))
    return digest.hexdigest()[:12]


def test_the_number_of_the_built_in_networks_stands_for_their_bits():
    known = json.loads(FILE.read_text())
    torch.set_num_threads(1)
    if known["number"] == BITS and machine() not in known["bits"]:
        pytest.skip(f"the bits on this machine ({machine()}) are not known; see the head of this file")
    fix = "if the bits were meant to change, raise BITS by one and renew the file; see the head of this file"
    assert (known["number"], known["bits"].get(machine())) == (BITS, bits()), fix


if __name__ == "__main__":
    torch.set_num_threads(1)
    earlier = json.loads(FILE.read_text()) if FILE.exists() else {"number": 0}
    found = earlier["bits"] if earlier["number"] == BITS else {}
    FILE.write_text(json.dumps({"number": BITS, "bits": found | {machine(): bits()}}, indent=1) + "\n")
