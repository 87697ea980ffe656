"""Damage to studies at random: bits that flip, files that are changed, lost, or were never of the study.

``python -m tests.study.store.fuzz FLIPS STORES [SEED]`` prints what became of so many; test_fuzz.py runs a short one.
"""

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from analysis.load import load_study
from analysis.stored import AnalysisError
from study.store.files import StoreError
from study.store.store import Store
from tests.study.conftest import record
from tests.study.store.test_merge import CELLS, build_result, new_store


def made_study(storage):
    """Write a study of two cells with two seeds of three epochs; return its store."""
    store = new_store(storage, "lab")
    for cell, first in zip(CELLS[:2], (0.5, 0.7), strict=True):
        records = []
        for seed in (0, 1):
            for epoch in (1, 2, 3):
                status = "completed" if epoch == 3 else "running"
                accuracy = first + seed / 10 + epoch / 100
                records.append(record(seed, epoch, status, 1 / epoch, accuracy, accuracy / 2))
        store.write(build_result(records, cell))
    return store


def content(storage):
    """Return the rows of a study as both readers give them, and the names of the files that each leaves out."""
    store = Store(str(storage), "lab")
    rows, problems = store.read_trials()
    trials = {row["trial_id"]: row for row in rows}
    epochs = {(row["trial_id"], row["epoch"]): row for row in store.read_epochs().to_pylist()}
    data = load_study(str(storage), "lab")
    analysed = {row["trial_id"]: row for row in data.trials.astype(object).to_dict("records")}
    curves = {(row["trial_id"], row["epoch"]): row for row in data.epochs.astype(object).to_dict("records")}
    return (trials, epochs, analysed, curves), {*problems, *data.unreadable}


def same(one, other):
    return repr(one) == repr(other)


def judge(storage, before, named_by_repair):
    """Say what became of a damaged study: ``same``, ``named``, ``refused``, or what is wrong."""
    try:
        found, problems = content(storage)
    except (StoreError, AnalysisError) as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error}"
    for kind, rows, of_before in zip(("trials", "epochs", "analysed", "curves"), found, before, strict=True):
        for key, row in rows.items():
            if not same(row, of_before.get(key)):
                return f"WRONG {kind} {key}: {row} instead of {of_before.get(key)}"
        if len(rows) < len(of_before) and not {*problems, *named_by_repair}:
            return f"SHORT {kind} without a word"
    return "named" if {*problems, *named_by_repair} else "same"


def flip(random_numbers, path):
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    place = random_numbers.randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def flips(count, seed):
    """Flip one bit of a part so many times; return how often each thing followed."""
    random_numbers = random.Random(seed)
    outcomes = Counter()
    with tempfile.TemporaryDirectory() as storage:
        made_study(storage)
        before, _ = content(storage)
        paths = sorted(Path(storage).rglob("*.parquet"))
        for _ in range(count):
            path = random_numbers.choice(paths)
            kept = path.read_bytes()
            flip(random_numbers, path)
            outcomes[judge(storage, before, ())] += 1
            path.write_bytes(kept)
    return outcomes


if __name__ == "__main__":
    print(flips(int(sys.argv[1]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
