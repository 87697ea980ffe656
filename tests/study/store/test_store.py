import json
import math
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from study.store.files import StoreError
from study.store.schema import epochs_schema, trials_schema
from study.store.store import Store, mean_curves, study_names
from tests.study.conftest import made_info, record
from trainables.digits.settings import CellConfig

# The names and their order are DESIGN's; whoever reads a store relies on them.
LAST_EPOCH = ["val_loss", "val_accuracy", "test_accuracy", "test_digit_accuracy"]
SETTINGS = ["model", "sharing", "aux_weight", "dropout", "learning_rate"]
TRIAL_COLUMNS = [
    *["study", "cell_id", "trial_id", *SETTINGS, "seed", "status", "epochs", "best_epoch", *LAST_EPOCH],
    *["best_test_accuracy", "best_test_digit_accuracy", "test_accuracy_by_probability", "train_accuracy"],
    *["train_digit_accuracy", "train_time_s", "device", "code_id", "data_sha256", "torch_version", "error"],
    *["started_at", "finished_at"],
]
EPOCH_COLUMNS = ["cell_id", "trial_id", "seed", "epoch", "learning_rate", "train_loss", *LAST_EPOCH]


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path), "made")
    store.write_info(made_info())
    return store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made"


def finished(seed, status="converged"):
    """Three epochs of which the second is the best by validation loss."""
    return [
        record(seed, 1, val_loss=0.9, test_accuracy=0.6),
        record(seed, 2, val_loss=0.4, test_accuracy=0.8),
        record(seed, 3, status, val_loss=0.5, val_accuracy=0.75, test_accuracy=0.7),
    ]


def names(folder, kind="trials"):
    return sorted(path.name for path in (folder / kind).iterdir())


def test_schema_has_the_names_of_the_design():
    assert trials_schema(CellConfig(), {"dropout": 0.5}).names == TRIAL_COLUMNS
    assert epochs_schema(CellConfig()).names == EPOCH_COLUMNS


def test_rows_of_a_finished_cell(store, folder, make_result):
    cell = CellConfig(sharing=True, aux_weight=10)
    store.write(make_result(finished(0) + finished(1, "completed"), cell))

    trials = pd.read_parquet(folder / "trials")
    assert list(trials.columns) == TRIAL_COLUMNS
    assert trials["trial_id"].tolist() == [f"{cell.cell_id}-0000", f"{cell.cell_id}-0001"]
    assert trials["status"].tolist() == ["converged", "completed"]
    first = trials.iloc[0]
    assert (first["sharing"], first["aux_weight"], first["learning_rate"], first["study"]) == (True, 10, 1e-3, "made")
    assert (first["epochs"], first["best_epoch"]) == (3, 2)
    assert (first["val_loss"], first["val_accuracy"], first["test_accuracy"]) == (0.5, 0.75, 0.7)
    assert (first["best_test_accuracy"], first["train_time_s"]) == (0.8, 1.5)
    assert (first["train_accuracy"], first["train_digit_accuracy"]) == (0.875, 0.9375)
    assert [row["test_accuracy_by_probability"] for row in store.read_trials()[0]] == [None] * 2  # never NaN
    assert first["finished_at"] - first["started_at"] == pd.Timedelta(minutes=1)

    epochs = pd.read_parquet(folder / "epochs")
    assert list(epochs.columns) == EPOCH_COLUMNS
    assert epochs["val_loss"].tolist() == [0.9, 0.4, 0.5] * 2
    assert epochs["trial_id"].tolist() == trials["trial_id"].repeat(3).tolist()


def test_part_says_which_cell_it_is_of(store, folder, make_result):
    cell = CellConfig(aux_weight=3)
    store.write(make_result(finished(0), cell))
    (path,) = (folder / "trials").iterdir()
    assert json.loads(pq.read_schema(path).metadata[b"cell"]) == cell.model_dump()


def test_seeds_that_had_not_ended_are_pruned_with_their_last_epoch(store, make_result):
    store.write(make_result([record(0, 1), record(0, 2, val_accuracy=0.6), record(1, 1), record(1, 2)], ended="pruned"))
    rows, _ = store.read_trials()
    assert [(row["status"], row["epochs"]) for row in rows] == [("pruned", 2)] * 2
    assert rows[0]["val_accuracy"] == 0.6
    assert rows[0]["train_accuracy"] is None


def test_all_seeds_of_a_pruned_cell_are_pruned(store, make_result):
    store.write(make_result([*finished(0), record(1, 1), record(1, 2), record(1, 3)], ended="pruned"))
    rows, _ = store.read_trials()
    assert [(row["status"], row["train_accuracy"], row["train_digit_accuracy"]) for row in rows] == [
        ("pruned", None, None)
    ] * 2


def test_failed_trial_is_a_row_with_nulls_and_its_error(store, make_result):
    bad = record(1, 2, "failed", val_loss=math.nan, error="the validation loss is nan after epoch 2")
    store.write(make_result([*finished(0), record(1, 1), bad]))
    good, failed = sorted(store.read_trials()[0], key=lambda row: row["seed"])
    assert (good["status"], good["test_accuracy"]) == ("converged", 0.7)
    assert (failed["status"], failed["error"]) == ("failed", "the validation loss is nan after epoch 2")
    nulls = {name for name, value in failed.items() if value is None}
    assert nulls == {
        "best_epoch",
        "val_loss",
        "val_accuracy",
        "test_accuracy",
        "test_digit_accuracy",
        "best_test_accuracy",
        "best_test_digit_accuracy",
        "test_accuracy_by_probability",
        "train_accuracy",
        "train_digit_accuracy",
    }
    losses = [row["val_loss"] for row in store.read_epochs().to_pylist() if row["seed"] == 1]
    assert losses == [1.0, None]


def test_cell_that_failed_before_its_first_epoch_has_rows(store, make_result):
    store.write(make_result([], seeds=(0, 1), ended="failed", error="RuntimeError: no memory"))
    rows, _ = store.read_trials()
    assert [(row["seed"], row["status"], row["epochs"], row["error"]) for row in rows] == [
        (0, "failed", 0, "RuntimeError: no memory"),
        (1, "failed", 0, "RuntimeError: no memory"),
    ]


def test_finished_rows_supersede_a_failed_try(store, folder, make_result):
    store.write(make_result([*finished(0), record(1, 1)], ended="failed", error="lost"))
    assert len(names(folder)) == 2
    store.write(make_result(finished(1)))
    assert [row["status"] for row in store.read_trials()[0]] == ["converged", "converged"]
    assert not [name for name in names(folder) + names(folder, "epochs") if "failed" in name]
    assert len(pd.read_parquet(folder / "trials")) == 2


def test_rows_of_some_seeds_leave_the_others_of_an_earlier_try(store, folder, make_result):
    store.write(make_result([record(0, 1), record(1, 1), record(1, 2)], ended="pruned"))
    store.write(make_result(finished(0)))
    trials, epochs = pd.read_parquet(folder / "trials"), pd.read_parquet(folder / "epochs")
    assert sorted(zip(trials["seed"], trials["status"], strict=True)) == [(0, "converged"), (1, "pruned")]
    assert epochs.groupby("seed")["epoch"].max().to_dict() == {0: 3, 1: 2}
    assert len(epochs) == 5
    assert len({pq.read_schema(path).metadata[b"cell"] for path in folder.glob("*/*.parquet")}) == 1


def test_a_classifiers_rows_have_both_of_its_accuracies(store, make_result):
    records = finished(0)
    for one in records:
        one["figures"]["test_accuracy_by_probability"] = 0.65 + one["epoch"] / 100
    store.write(make_result(records, CellConfig(model="classifier", sharing=True)))
    (row,) = store.read_trials()[0]
    assert (row["model"], row["test_accuracy"], row["test_accuracy_by_probability"]) == ("classifier", 0.7, 0.68)


def test_parts_written_before_the_new_columns_are_read_and_superseded(store, folder, make_result):
    def age(path):
        table = pq.read_table(path)
        new = ["test_accuracy_by_probability", "train_accuracy", "train_digit_accuracy"]
        pq.write_table(table.drop_columns(new).replace_schema_metadata(None), path)

    other = CellConfig(aux_weight=3)
    store.write(make_result(finished(0), other))
    store.write(make_result([record(0, 1), record(1, 1)], ended="pruned"))
    for path in (folder / "trials").iterdir():
        age(path)
    store.write(make_result(finished(0)))
    rows = {row["trial_id"]: row for row in store.read_trials()[0]}
    found = {trial_id: (row["status"], row.get("train_accuracy")) for trial_id, row in rows.items()}
    assert found == {
        other.trial_id(0): ("converged", None),
        CellConfig().trial_id(0): ("converged", 0.875),
        CellConfig().trial_id(1): ("pruned", None),
    }
    assert store.repair() == {}


def test_a_failed_try_never_hides_finished_rows(store, make_result):
    store.write(make_result(finished(0)))
    store.write(make_result([record(0, 1)], ended="failed", error="lost"))
    assert [row["status"] for row in store.read_trials()[0]] == ["converged"]


def test_repair_removes_what_crashes_left(store, folder, make_result):
    store.write(make_result([record(0, 1)], ended="failed", error="lost"))
    kept = {kind: {path: path.read_bytes() for path in (folder / kind).iterdir()} for kind in ("trials", "epochs")}
    store.write(make_result(finished(0)))
    for files in kept.values():  # a crash after the finished rows were written, before the failed ones were removed
        for path, content in files.items():
            path.write_bytes(content)
    (folder / "epochs" / "0123456789ab-01234567.parquet").write_bytes(b"written before a crash")
    assert len(names(folder)) == 2
    assert store.repair() == {}
    assert names(folder) == names(folder, "epochs") == [name for name in names(folder) if "failed" not in name]
    assert [row["status"] for row in store.read_trials()[0]] == ["converged"]


@pytest.mark.parametrize("kind", ["trials", "epochs"])
def test_file_cut_in_half_is_named_and_set_aside_and_the_rest_is_read(store, folder, make_result, kind):
    good, bad = CellConfig(aux_weight=1), CellConfig(aux_weight=2)
    store.write(make_result(finished(0), good))
    store.write(make_result(finished(0), bad))
    (path,) = (folder / kind).glob(f"{bad.cell_id}*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if kind == "trials":
        assert list(store.read_trials()[1]) == [f"trials/{path.name}"]
        assert [row["cell_id"] for row in store.read_trials()[0]] == [good.cell_id]
    assert list(store.repair()) == [f"{kind}/{path.name}"]
    assert [row["cell_id"] for row in store.read_trials()[0]] == [good.cell_id]
    assert sorted(p.name for p in (folder / "damaged").iterdir()) == [f"epochs-{path.name}", f"trials-{path.name}"]
    store.write(make_result(finished(0), bad))
    assert len(store.read_trials()[0]) == 2
    assert store.repair() == {}


def test_same_result_gives_the_same_bytes(tmp_path, make_result):
    contents = []
    for place in ("first", "second"):
        store = Store(str(tmp_path / place), "made")
        store.write_info(made_info())
        store.write(make_result(finished(0)))
        contents.append([path.read_bytes() for path in sorted((tmp_path / place).rglob("*.parquet"))])
    assert contents[0] == contents[1]


def test_no_unfinished_file_can_be_mistaken_for_rows(store, folder, make_result):
    store.write(make_result(finished(0)))
    (name,) = names(folder)
    (folder / "trials" / f".{name}.tmp").write_bytes(b"half")
    assert len(pd.read_parquet(folder / "trials")) == 1
    assert len(store.read_trials()[0]) == 1


def test_scratch_is_empty_and_goes(store, folder):
    (folder / "scratch").mkdir()
    (folder / "scratch" / "left by a crash").touch()
    with store.scratch() as (_, path):
        assert list(Path(path).iterdir()) == []
        Path(path, "checkpoint").touch()
    assert not (folder / "scratch").exists()


def test_study_names(tmp_path):
    for name in ("b", "a"):
        Store(str(tmp_path), name).write_info(made_info())
    (tmp_path / "no study").mkdir()
    assert study_names(str(tmp_path)) == ["a", "b"]
    assert study_names(str(tmp_path / "nowhere")) == []


def test_mean_curves_hold_the_last_value_of_an_ended_seed(store, make_result):
    cell = CellConfig()
    records = [
        record(0, 1, val_accuracy=0.2),
        record(0, 2, "converged", val_accuracy=0.4),
        record(1, 1, val_accuracy=0.4),
        record(1, 2, val_accuracy=0.5),
        record(1, 3, "converged", val_accuracy=0.8),
    ]
    store.write(make_result(records, cell))
    curve = mean_curves(store.read_epochs(), [cell.cell_id, "unknown"], "val_accuracy")
    assert curve == {cell.cell_id: pytest.approx({1: 0.3, 2: 0.45, 3: 0.6})}


@pytest.mark.parametrize("name", ["a/b", "", ".hidden", "-x", "a b", "x" * 101])
def test_bad_study_name_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match="study name"):
        Store(str(tmp_path), name)


def test_storage_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write to the storage .*file: .*--storage"):
        Store(str(tmp_path / "file"), "made").write_info(made_info())


def test_unknown_storage_scheme_is_refused():
    with pytest.raises(StoreError, match=r"storage 'ftp://host/x': .*expected a folder, or a URI"):
        Store("ftp://host/x", "made")


@pytest.mark.parametrize("content", ["{", "[]", '{"study": "made"}', '{"schema": 99}'])
def test_foreign_study_json_is_refused_and_kept(store, folder, content):
    (folder / "study.json").write_text(content)
    with pytest.raises(StoreError, match=r"study\.json"):
        store.read_info()
    assert (folder / "study.json").read_text() == content
