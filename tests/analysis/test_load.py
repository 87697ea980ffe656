import json
import os
import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.load import AnalysisError, latest_study, load_study

PART = "comparator-0-0.0-0.0-0.001.parquet"


def cut_in_half(path: Path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_study_is_read_whole(make_study):
    cells = [{"test": [0.8, 0.9]}, {"test": [0.7, 0.6], "sharing": True, "epochs": 5, "status": "converged"}]
    data = load_study(*make_study(cells))
    assert (data.name, data.info["grid"], data.unreadable) == ("test-study", "table1", ())
    assert list(data.trials["test_accuracy"]) == [0.8, 0.9, 0.7, 0.6]
    assert list(data.trials["status"]) == ["completed", "completed", "converged", "converged"]
    assert data.trials["sharing"].dtype == bool
    assert list(data.epochs["epoch"]) == [1, 2, 3] * 2 + [1, 2, 3, 4, 5] * 2
    assert data.epochs["test_accuracy"].iloc[2] == pytest.approx(0.8)
    assert "part" not in {*data.trials.columns, *data.epochs.columns}
    with pytest.raises(FrozenInstanceError):
        data.name = "other"


def test_a_uri_is_a_storage(make_study):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    assert len(load_study(f"file://{storage}", name).trials) == 2
    assert latest_study(f"file://{storage}") == name
    with pytest.raises(AnalysisError, match=r"storage nonsense://x: .* expected a folder or a URI"):
        load_study("nonsense://x", name)


def test_a_relative_path_is_a_storage(make_study, monkeypatch):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    monkeypatch.chdir(Path(storage).parent)
    assert len(load_study("results", name).trials) == 2


@pytest.mark.parametrize("later", ["pruned", "failed"])
def test_the_best_row_of_a_trial_counts_wherever_it_lies(make_study, later):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    for part in ("a.parquet", "z.parquet"):
        make_study.add_part(name, part, test=[0.1, 0.2], status=later, epochs=7)
    data = load_study(storage, name)
    assert list(data.trials["test_accuracy"]) == [0.8, 0.9]
    assert list(data.trials["status"]) == ["completed"] * 2
    assert list(data.epochs["epoch"]) == [1, 2, 3] * 2


def test_pruned_wins_over_failed(make_study):
    storage, name = make_study([{"test": [0.8, 0.9], "status": "failed"}])
    make_study.add_part(name, "z.parquet", test=[0.1, 0.2], status="pruned", epochs=20)
    data = load_study(storage, name)
    assert list(data.trials["status"]) == ["pruned"] * 2
    assert list(data.trials["epochs"]) == [20, 20]


def test_a_failed_trial_is_a_row_with_its_error_and_nulls(make_study):
    data = load_study(*make_study([{"test": [0.8, 0.9], "status": ["failed", "completed"]}]))
    failed = data.trials.iloc[0]
    assert failed["error"] == "RuntimeError: out of luck"
    assert data.trials["test_accuracy"].isna().tolist() == [True, False]


@pytest.mark.parametrize("kind", ["trials", "epochs"])
def test_a_file_cut_in_half_is_named_and_the_rest_is_read(make_study, kind):
    storage, name = make_study([{"test": [0.8, 0.9]}, {"test": [0.7, 0.6], "sharing": True}])
    cut_in_half(Path(storage, name, kind, PART))
    data = load_study(storage, name)
    assert data.unreadable == (f"{kind}/{PART}",)
    assert list(data.trials["sharing"]) == ([True] * 2 if kind == "trials" else [False] * 2 + [True] * 2)
    assert set(data.epochs["cell_id"]) == {"comparator-1-0.0-0.0-0.001"}


@pytest.mark.parametrize("damage", ["empty", "foreign", "page"])
def test_other_damage_is_named_too(make_study, damage):
    storage, name = make_study([{"test": [0.8, 0.9]}, {"test": [0.7, 0.6], "sharing": True}])
    path = Path(storage, name, "trials", PART)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        pq.write_table(pa.table({"words": ["not a trial"]}), path)
    else:
        content = bytearray(path.read_bytes())
        content[4:200] = bytes(196)
        path.write_bytes(content)
    data = load_study(storage, name)
    assert data.unreadable == (f"trials/{PART}",)
    assert len(data.trials) == 2


def test_an_epochs_file_without_its_trials_is_ignored_and_one_that_lacks_is_named(make_study):
    storage, name = make_study([{"test": [0.8, 0.9]}, {"test": [0.7, 0.6], "sharing": True}])
    folder = Path(storage, name)
    folder.joinpath("trials", PART).unlink()
    data = load_study(storage, name)
    assert data.unreadable == ()
    assert len(data.epochs) == 6
    folder.joinpath("epochs", "comparator-1-0.0-0.0-0.001.parquet").unlink()
    data = load_study(storage, name)
    assert data.unreadable == ("epochs/comparator-1-0.0-0.0-0.001.parquet",)
    assert (len(data.trials), len(data.epochs)) == (2, 0)


def test_half_written_and_other_files_are_ignored(make_study):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    for path in (".x.parquet.tmp", ".x.parquet", "notes.txt"):
        Path(storage, name, "trials", path).write_text("half")
    assert load_study(storage, name).unreadable == ()


def test_further_columns_are_kept(make_study):
    cells = [{"test": [0.8, 0.9]}, {"test": [0.7, 0.6], "further": {"width": 64}}]
    data = load_study(*make_study(cells))
    assert data.trials["width"].tolist()[2:] == [64, 64]
    assert data.trials["width"].isna().tolist() == [True, True, False, False]


def test_files_that_disagree_on_a_type_are_refused(make_study):
    cells = [{"test": [0.8, 0.9], "further": {"width": "wide"}}, {"test": [0.7, 0.6], "further": {"width": 64}}]
    with pytest.raises(AnalysisError, match=r"disagree: .*; keep one layout") as caught:
        load_study(*make_study(cells))
    assert "\n" not in str(caught.value)


def test_an_unknown_study_lists_those_there_are(make_study):
    storage, _ = make_study([], name="one")
    make_study([], name="another")
    Path(storage, "no-study").mkdir()
    with pytest.raises(AnalysisError, match=r"no study 'tow' in .*; there are: another, one$"):
        load_study(storage, "tow")


@pytest.mark.parametrize("name", ["", ".", "..", "../results/one", "one/", "no-study"])
def test_only_a_name_names_a_study(make_study, name):
    storage, _ = make_study([{"test": [0.8, 0.9]}], name="one")
    Path(storage, "no-study").mkdir()
    with pytest.raises(AnalysisError, match=r"there are: one$"):
        load_study(storage, name)


@pytest.mark.parametrize("make", [True, False])
def test_an_empty_or_missing_storage_says_how_to_begin(tmp_path, make):
    if make:
        tmp_path.joinpath("empty").mkdir()
    with pytest.raises(AnalysisError, match=r"no studies in .*empty; .*study run --grid table1"):
        load_study(str(tmp_path / "empty"), "one")
    with pytest.raises(AnalysisError, match=r"no studies in .*empty; .*study run --grid table1"):
        latest_study(str(tmp_path / "empty"))


def test_a_storage_that_is_a_file_is_refused(tmp_path):
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(AnalysisError, match=r"cannot read the storage .*file"):
        latest_study(str(tmp_path / "file"))


def test_a_study_without_trials_says_how_to_go_on(make_study):
    storage, name = make_study([{}])
    with pytest.raises(AnalysisError, match=r"no trials yet; go on with: study run --grid table1 --name test-study"):
        load_study(storage, name)
    make_study.add_part(name, test=[0.8, 0.9])
    cut_in_half(Path(storage, name, "trials", PART))
    with pytest.raises(AnalysisError, match=rf"no trials yet \(1 unreadable files, trials/{PART} first\)"):
        load_study(storage, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 2, expected 1"),
        ({"schema": None}, "has schema None, expected 1"),
        ({"seeds": 10}, "seeds is 10, expected a list"),
        ({"roles": None}, "roles is None, expected a dict"),
        ({"cells": [{"cell_id": "a", "model": "comparator"}]}, "a cell without sharing, aux_weight, dropout"),
        ({"cells": ["a"]}, "a cell without cell_id"),
    ],
)
def test_a_study_json_of_another_shape_is_refused(make_study, change, message):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    path = Path(storage, name, "study.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AnalysisError, match=rf"study\.json.* {message}"):
        load_study(storage, name)


@pytest.mark.parametrize("content", [b"", b'{"schema": 1,', b"\xff\xfe", b"[]"])
def test_a_broken_study_json_is_refused_in_one_line(make_study, content):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    Path(storage, name, "study.json").write_bytes(content)
    with pytest.raises(AnalysisError, match=r"study\.json.*; restore it, or") as caught:
        load_study(storage, name)
    assert "\n" not in str(caught.value)


def test_the_latest_study_is_the_one_written_last(make_study):
    storage, _ = make_study([], name="b")
    for name, age in (("a", 60), ("b", 30), ("c", 90)):
        if name != "b":
            make_study([], name=name)
        written = time.time() - age
        os.utime(Path(storage, name, "study.json"), (written, written))
    assert latest_study(storage) == "b"


def test_study_json_is_given_as_it_is(make_study):
    storage, name = make_study([{"test": [0.8, 0.9]}])
    assert load_study(storage, name).info == json.loads(Path(storage, name, "study.json").read_text())
