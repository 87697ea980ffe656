"""Damage to studies at random: bits that flip, files that are changed, lost, or were never of the study.

``python -m tests.study.store.fuzz FLIPS STORES [SEED]`` prints what became of so many; test_fuzz.py runs a short one.
"""

import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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
    place = random_numbers.randrange(8 * max(1, len(data)))
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


def _other_columns(random_numbers, path):
    table = pq.read_table(path)
    column = random_numbers.choice(table.column_names)
    if random_numbers.random() < 0.5:
        pq.write_table(table.drop_columns([column]), path)
    else:
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, pa.array([[1]] * len(table))), path)


def _rows_twice(random_numbers, path):
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)


def _fewer_rows(random_numbers, path):
    table = pq.read_table(path)
    pq.write_table(table.slice(0, random_numbers.randrange(max(1, len(table)))), path)


def _cut(random_numbers, path):
    path.write_bytes(path.read_bytes()[: random_numbers.randrange(max(1, path.stat().st_size))])


def _foreign(random_numbers, path):
    name = random_numbers.choice(["notes.txt", "all.parquet", "0123456789ab-01234567.parquet"])
    path.with_name(name).write_bytes(path.read_bytes())


def _lost(random_numbers, path):
    path.unlink()


def _of_another_study(random_numbers, path):
    """A part of another study, in which the cell of another study is trained."""
    with tempfile.TemporaryDirectory() as elsewhere:
        other = new_store(elsewhere, "lab")
        other.write(build_result([record(0, 1, "completed")], CELLS[0].model_copy(update={"aux_weight": 99.0})))
        for kind in ("trials", "epochs"):
            (part,) = Path(elsewhere, "lab", kind).iterdir()
            (path.parents[1] / kind / part.name).write_bytes(part.read_bytes())


DAMAGE = (_other_columns, _rows_twice, _fewer_rows, _cut, _foreign, _lost, _of_another_study, flip)


def damaged_stores(count, seed):
    """Damage so many studies in one to three ways, read them, repair them, and read them again."""
    random_numbers = random.Random(seed)
    outcomes = Counter()
    with tempfile.TemporaryDirectory() as sound:
        made_study(sound)
        before, _ = content(sound)
        for _ in range(count):
            with tempfile.TemporaryDirectory() as storage:
                shutil.copytree(Path(sound, "lab"), Path(storage, "lab"))
                for _ in range(random_numbers.randint(1, 3)):
                    # What is damaged or gone already may not be damaged again.
                    with suppress(pa.ArrowException, OSError, IndexError):
                        path = random_numbers.choice(sorted(Path(storage).rglob("*.parquet")))
                        random_numbers.choice(DAMAGE)(random_numbers, path)
                lost = len(list(Path(storage, "lab", "trials").iterdir())) < 2
                outcomes[judge(storage, before, ["a trials file is lost"] if lost else ())] += 1
                store = Store(storage, "lab")
                store.repair()
                if store.read_trials()[1] or store.repair():
                    outcomes["WRONG after the repair"] += 1
    return outcomes


if __name__ == "__main__":
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    print("flips", flips(int(sys.argv[1]), seed))
    print("stores", damaged_stores(int(sys.argv[2]), seed))
