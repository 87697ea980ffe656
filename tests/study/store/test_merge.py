"""Merging made studies; test_growing_runs.py merges trained ones."""

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stored import FINISHED, FIRST_METRICS
from study.grid.load import load_grid
from study.plan.jobs import study_info
from study.store.heartbeat import Heartbeat
from study.store.merge import join_trials
from study.store.store import Store
from tests.study.conftest import build_result, record

GRID = load_grid("smoke")
CELLS = GRID.cells()
OBJECTIVE = FIRST_METRICS[0]
RANK = {"completed": 0, "pruned": 1, "failed": 2}


def new_store(storage, name, **changes):
    store = Store(str(storage), name)
    store.write_info(replace(study_info(name, GRID, CELLS, range(2), None), **changes))
    return store


def put(store, cell, seeds, status="completed", accuracy=0.5):
    """Write a part: two epochs a seed, with an accuracy that tells it from others."""
    records = [
        record(seed, epoch, status if epoch == 2 and status in FINISHED else "running", test_accuracy=accuracy)
        for seed in seeds
        for epoch in (1, 2)
    ]
    store.write(build_result(records, cell, ended="failed" if status == "failed" else "pruned"))


def files(storage):
    return {path: path.read_bytes() for path in Path(storage).rglob("*") if path.is_file()}


def rows(store):
    return tuple(pd.read_parquet(Path(store.folder.path, kind)) for kind in ("trials", "epochs"))


TRIALS = st.dictionaries(
    st.tuples(st.integers(0, 1), st.integers(0, 2)),
    st.tuples(st.sampled_from(["completed", "pruned", "failed"]), st.sampled_from([0.25, 0.75])),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(TRIALS, min_size=2, max_size=3))
def test_every_trial_is_there_once_the_best_and_of_equals_the_first(held):
    with tempfile.TemporaryDirectory() as storage:
        stores = [new_store(storage, f"s{index}") for index in range(len(held))]
        for store, trials in zip(stores, held, strict=True):
            for kind in {(cell, *how) for (cell, _), how in trials.items()}:
                cell, *how = kind
                put(store, CELLS[cell], [seed for (c, seed), h in trials.items() if (c, *h) == kind], *how)
        target, *sources = stores
        before = {path: content for path, content in files(storage).items() if "s0" not in path.parts}
        known = {row["trial_id"]: row for row in target.read_trials()[0]}
        joined = [join_trials(source, target, known, OBJECTIVE) for source in sources]
        target.repair()

        wanted = {}
        for trials in held:
            for trial, (status, accuracy) in trials.items():
                if trial not in wanted or RANK[status] < RANK[wanted[trial][0]]:
                    wanted[trial] = status, accuracy
        trials, epochs = rows(target) if wanted else (pd.DataFrame(columns=["trial_id"]), pd.DataFrame())
        assert len(trials) == trials["trial_id"].nunique() == len(wanted)
        assert len(epochs) == 2 * len(wanted)
        for (cell, seed), (status, accuracy) in wanted.items():
            row = trials.set_index("trial_id").loc[CELLS[cell].trial_id(seed)]
            assert row["status"] == status
            assert set(epochs.loc[epochs["trial_id"] == row.name, "test_accuracy"]) == {accuracy}
        conflicts = sum(len(one.conflicts) for one in joined)
        brought = sum(one.added + one.there for one in joined) + conflicts
        assert brought == sum(map(len, held[1:]))

        assert before == {path: content for path, content in files(storage).items() if "s0" not in path.parts}
        merged = files(storage)
        held_now = {row["trial_id"]: row for row in target.read_trials()[0]}
        again = [join_trials(source, target, held_now, OBJECTIVE) for source in sources]
        target.repair()
        assert {one.added for one in again} == {0}
        assert files(storage) == merged


def test_studies_of_two_machines_become_one(tmp_path, study):
    first, second = new_store("studies", "lab", runs=({"started_at": "2"},)), new_store(tmp_path / "usb", "lab")
    second.write_info(replace(second.read_info(), runs=({"started_at": "1"},), seeds=(2, 3)))
    put(first, CELLS[0], (0, 1))
    put(first, CELLS[1], (0, 1), "pruned")
    put(second, CELLS[0], (1, 2))
    put(second, CELLS[1], (0,))
    put(second, CELLS[2], (0, 1), "failed")
    put(second, CELLS[0], (3,), accuracy=0.25)
    put(first, CELLS[0], (3,), accuracy=0.75)
    sources = files(tmp_path)

    code, out, errors = study("merge", "lab", f"{tmp_path}/usb/lab", "--into", "all")
    assert (code, errors) == (0, "")
    assert "lab: 5 trials added\n" in out
    conflict = f"  {CELLS[0].trial_id(3)}: test_accuracy 0.75 kept, 0.25 left out\n"
    assert (
        f"{tmp_path}/usb/lab: 4 trials added, 1 of them in place of pruned or failed ones, 1 were there already, "
        f"1 were there with other numbers, which are kept:\n{conflict}" in out
    )
    assert "all: 16 trials: 5 finished, 1 pruned, 2 failed, 8 not trained yet" in out
    info = Store("studies", "all").read_info()
    assert (info.study, info.seeds, info.runs) == (
        "all",
        (0, 1, 2, 3),
        ({"started_at": "1"}, {"started_at": "2"}),
    )
    trials, epochs = rows(Store("studies", "all"))
    assert sorted(trials["trial_id"]) == sorted(set(trials["trial_id"]))
    assert len(epochs) == 2 * len(trials) == 16
    assert set(trials["study"]) == {"lab"}  # the rows as they were written
    assert sources.items() <= files(tmp_path).items()

    merged = files("studies/all")
    code, out, _ = study("merge", "lab", f"{tmp_path}/usb/lab", "--into", "all")
    assert (code, out.count(" 0 trials added")) == (0, 2)
    assert files("studies/all") == merged


def test_an_interrupted_merge_is_finished_by_the_same_command(study):
    source = new_store("studies", "lab")
    for cell in CELLS:
        put(source, cell, (0, 1))
    new_store("studies", "whole")
    assert study("merge", "lab", "--into", "whole")[0] == 0
    last = max(path.name for path in Path("studies/lab/trials").iterdir())
    obstacle = Path("studies/all/trials", f".{last}.tmp")
    obstacle.mkdir(parents=True)
    code, _, errors = study("merge", "lab", "--into", "all")
    assert (code, errors.count("\n")) == (2, 1)
    assert "cannot write to the storage studies" in errors
    assert not Path("studies/all/driver.json").exists()
    assert len(rows(Store("studies", "all"))[0]) < 8
    obstacle.rmdir()
    code, out, _ = study("merge", "lab", "--into", "all")
    assert (code, "all: 8 trials: 8 finished" in out) == (0, True)
    merged = {path.relative_to("studies/all"): content for path, content in files("studies/all").items()}
    whole = {path.relative_to("studies/whole"): content for path, content in files("studies/whole").items()}
    assert {k: v for k, v in merged.items() if k.suffix == ".parquet"} == {
        k: v for k, v in whole.items() if k.suffix == ".parquet"
    }


def test_a_damaged_part_is_left_out_and_named(study):
    source = new_store("studies", "lab")
    for cell in CELLS[:2]:
        put(source, cell, (0, 1))
    first, second = sorted(Path("studies/lab/trials").iterdir())
    first.write_bytes(b"PAR1")
    Path("studies/lab/epochs", second.name).unlink()
    code, out, _ = study("merge", "lab", "--into", "all")
    assert code == 1
    assert f"  trials/{first.name} cannot be read (" in out
    assert f"  epochs/{second.name} is missing; it is left out\n" in out
    assert "8 trials: 8 not trained yet" in out


LESS_IS_BETTER = [{"name": "accuracy", "goal": "min", "unit": "%", "scale": 100}]
OTHER_CONTRAST = [{"name": "c", "plus": [{"sharing": True}], "minus": [{"sharing": False}]}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"protocol": {"max_epochs": 4}},
            "lab was run with max_epochs 3, other with 4: rows of both would not compare",
        ),
        ({"contrasts": OTHER_CONTRAST}, "the contrast 'c' is {'name': 'c', 'plus': [], 'minus': []} in lab and"),
        ({"objective": "digit_accuracy"}, "the objective is accuracy in lab and digit_accuracy in other; let both"),
        (
            {"metrics": LESS_IS_BETTER},
            "the metric accuracy differs in lab and other (max, unit '%', scale 100 and min,",
        ),
        ({"confirms": "lab"}, "only one of lab and other is a confirmation"),
        ({"schema": 2}, "has schema 2, expected 1"),
    ],
)
def test_what_cannot_be_one_study_is_refused(study, changes, message):
    new_store("studies", "lab", contrasts=[{"name": "c", "plus": [], "minus": []}])
    new_store("studies", "other")
    path = Path("studies/other/study.json")
    info = json.loads(path.read_text())
    merged = {name: info[name] | value if isinstance(value, dict) else value for name, value in changes.items()}
    path.write_text(json.dumps(info | merged))
    before = files("studies")
    code, out, errors = study("merge", "lab", "other", "--into", "all")
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert message in errors
    assert files("studies") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--into", "all"], "no study nowhere in studies"),
        (["usb/lab", "--into", "all"], "no study lab in usb"),
        (["lab", "./studies/lab/", "--into", "lab"], "lab is the study to merge into; name only the others"),
        (["lab", "--into", "a b"], "study name 'a b'"),
    ],
)
def test_bad_names_are_one_line(study, arguments, message):
    new_store("studies", "lab")
    code, _, errors = study("merge", *arguments)
    assert (code, errors.count("\n"), message in errors) == (2, 1, True)
    assert [path.name for path in Path("studies").iterdir()] == ["lab"]


@pytest.mark.parametrize("held", ["lab", "all"])
def test_a_study_that_is_running_is_refused(study, held):
    for name in ("lab", "all"):
        put(new_store("studies", name), CELLS[0], (0,))
    before = files("studies")
    with Heartbeat(Store("studies", held).folder, beat_s=0.1, settle_s=0.05):
        code, _, errors = study("merge", "lab", "--into", "all")
    assert (code, errors.count("\n")) == (2, 1)
    assert re.search(f"the study {held} is being run by process", errors)
    assert files("studies") == before


def test_between_object_stores_and_folders(tmp_path, study, s3):
    put(new_store("studies", "lab"), CELLS[0], (0, 1))
    put(new_store(s3, "lab"), CELLS[1], (0, 1))
    assert study("merge", "lab", f"{s3}/lab", "--into", f"{s3}/all")[0] == 0
    assert study("merge", f"{s3}/all", "--into", "all")[0] == 0
    assert len(rows(Store("studies", "all"))[0]) == 4
