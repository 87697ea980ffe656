import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.load import latest_study, load_study
from analysis.statistics.sources import warnings_of
from analysis.stored import AnalysisError
from tests.analysis.conftest import StoreBuilder


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("as_uri", [False, True])
def test_all_parts_of_a_study_are_read(store: StoreBuilder, as_uri: bool) -> None:
    first = store.cell([0.8, 0.9], [0.7, 0.6])
    second = store.plan(aux_weight=1)
    store.part(second, [0.5], epochs=3)
    store.part(second, [0.6], first_seed=1, epochs=4)
    store.write_info()
    data = load_study(store.storage.as_uri() if as_uri else str(store.storage), "abc")
    assert data.name == "abc"
    assert list(data.info.cells) == store.cells
    assert data.unreadable == {}
    rows = data.trials.set_index("trial_id")
    assert rows["test_accuracy"].to_dict() == {
        f"{first}-0000": 0.8,
        f"{first}-0001": 0.9,
        f"{second}-0000": 0.5,
        f"{second}-0001": 0.6,
    }
    assert rows.loc[f"{first}-0001", "val_accuracy"] == 0.6
    assert data.epochs.groupby("trial_id")["epoch"].max().tolist() == [2, 2, 3, 4]
    assert len(data.epochs) == 2 + 2 + 3 + 4
    assert "part" not in data.trials


def test_an_epochs_file_alone_and_files_in_the_making_do_not_count(store: StoreBuilder) -> None:
    store.cell([0.8])
    store.part(store.plan(aux_weight=1), [0.5]).unlink()
    (store.folder / "trials" / ".x.parquet").write_bytes(b"half")
    data = store.load()
    assert data.trials["trial_id"].tolist() == data.epochs["trial_id"].unique().tolist() == ["cell00-0000"]
    assert data.unreadable == {}


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_a_finished_row_wins_over_an_earlier_try(store: StoreBuilder, status: str) -> None:
    cell = store.cell([0.9], status="converged")
    store.part(cell, [None], status=status, epochs=5)
    data = store.load()
    assert data.trials[["status", "test_accuracy"]].to_numpy().tolist() == [["converged", 0.9]]
    assert data.epochs["epoch"].tolist() == [1, 2]


def test_a_pruned_row_wins_over_a_failed_one(store: StoreBuilder) -> None:
    store.cell([0.9])
    cell = store.plan(aux_weight=1)
    store.part(cell, [None], status="failed")
    store.part(cell, [0.5], status="pruned")
    assert sorted(store.load().trials["status"]) == ["completed", "pruned"]


def test_a_trials_file_cut_in_half_is_named_and_the_rest_is_read(store: StoreBuilder) -> None:
    store.cell([0.8])
    damaged = store.part(store.plan(aux_weight=1), [0.5])
    cut_in_half(damaged)
    data = store.load()
    assert list(data.unreadable) == [f"trials/{damaged.name}"]
    assert data.trials["cell_id"].tolist() == ["cell00"]
    assert data.epochs["cell_id"].unique().tolist() == ["cell00"]


@pytest.mark.parametrize("damage", [cut_in_half, Path.unlink])
def test_an_epochs_file_that_is_damaged_or_gone_is_named(store: StoreBuilder, damage: Callable[[Path], None]) -> None:
    path = store.part(store.plan(), [0.5])
    damage(store.folder / "epochs" / path.name)
    data = store.load()
    assert list(data.unreadable) == [f"epochs/{path.name}"]
    assert len(data.trials) == 1
    assert len(data.epochs) == 0


@pytest.mark.parametrize(
    ("name", "fix"),
    [("abd", "did you mean abc?"), ("../studies/abc", "expected one of abc, xyz"), ("", "expected one of abc, xyz")],
)
def test_an_unknown_study_is_answered_with_those_there_are(
    store: StoreBuilder, new_store: Callable[..., StoreBuilder], name: str, fix: str
) -> None:
    store.write_info()
    new_store(name="xyz").write_info()
    new_store(name="no-study")
    with pytest.raises(AnalysisError, match=re.escape(f"no study {name!r} in {store.storage}: {fix}")):
        load_study(str(store.storage), name)


def test_an_empty_or_absent_storage_says_how_to_run_a_study(tmp_path: Path) -> None:
    for storage in (tmp_path, tmp_path / "absent"):
        for ask in (lambda: load_study(str(storage), "abc"), lambda: latest_study(str(storage))):  # noqa: B023
            with pytest.raises(AnalysisError, match=r"no study in .*: study run --grid table1 --storage"):
                ask()


def test_a_storage_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for storage in (str(tmp_path / "file"), "nowhere://x/y"):
        with pytest.raises(AnalysisError, match=f"cannot read the storage {storage}: .*expected a folder, or a URI"):
            latest_study(storage)


def test_a_study_without_a_finished_trial_is_refused(store: StoreBuilder) -> None:
    store.plan()
    with pytest.raises(
        AnalysisError,
        match=r"no finished trial of 3; continue it with the study run .* .grid full., or see .* with study status abc",
    ):
        store.load()
    store.cell([0.5, 0.5], status="pruned", aux_weight=1)
    store.cell([None], status="failed", aux_weight=2)
    with pytest.raises(AnalysisError, match="no finished trial of 9;"):
        store.load()
    cut_in_half(store.part(store.plan(aux_weight=3), [0.9]))
    with pytest.raises(AnalysisError, match="no finished trial of 12, and 1 files are left out"):
        store.load()


@pytest.mark.parametrize("damage", ["empty", "foreign", "page"])
def test_other_damage_is_named_too(store: StoreBuilder, damage: str) -> None:
    store.cell([0.8])
    path = store.part(store.plan(aux_weight=1), [0.5])
    if damage == "foreign":
        pq.write_table(pa.table({"words": ["not a trial"]}), path)
    else:
        content = path.read_bytes()
        path.write_bytes(b"" if damage == "empty" else content[:4] + bytes(196) + content[200:])
    data = store.load()
    assert list(data.unreadable) == [f"trials/{path.name}"]
    assert data.trials["cell_id"].tolist() == ["cell00"]


def test_further_columns_are_kept_and_must_agree(store: StoreBuilder) -> None:
    store.cell([0.8])
    path = store.part(store.plan(aux_weight=1), [0.5])
    rows = pq.read_table(path)
    pq.write_table(rows.append_column("width", [[64]]), path)
    assert store.load().trials["width"].fillna(0).tolist() == [0, 64]
    other = store.part(store.plan(aux_weight=2), [0.5])
    pq.write_table(pq.read_table(other).append_column("width", [["wide"]]), other)
    data = store.load()
    assert data.unreadable[f"trials/{other.name}"].startswith("has columns that do not fit those of the others")
    assert len(data.trials) == 2


@pytest.mark.parametrize(
    "change",
    [{"seeds": 10}, {"roles": None}, {"cells": ["a"]}, {"cells": [{"cell_id": "a"}]}, {"roles": {"width": "x"}}],
)
def test_a_study_json_of_another_shape_is_refused(store: StoreBuilder, change: dict[str, Any]) -> None:
    store.cell([0.8])
    store.write_info(**change)
    with pytest.raises(AnalysisError, match=r"study\.json is not a study\.json as a run writes it .*; restore it"):
        load_study(str(store.storage), "abc")


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"schema": 1}', "\x80"])
def test_a_broken_study_json_is_refused(store: StoreBuilder, text: str) -> None:
    store.cell([0.8])
    store.write_info().write_text(text, encoding="latin-1")
    with pytest.raises(AnalysisError, match=r"study\.json is not a study\.json as a run writes it .*; restore it"):
        load_study(str(store.storage), "abc")


def test_another_schema_is_refused(store: StoreBuilder) -> None:
    store.cell([0.8])
    store.write_info(schema=2)
    with pytest.raises(AnalysisError, match="has schema 2, expected 1;"):
        load_study(str(store.storage), "abc")


def test_the_latest_study_is_the_one_whose_study_json_changed_last(
    store: StoreBuilder, new_store: Callable[..., StoreBuilder]
) -> None:
    for name, time in (("abc", 100), ("mno", 300), ("xyz", 200)):
        os.utime(new_store(name=name).write_info(), (time, time))
    assert latest_study(str(store.storage)) == "mno"


def test_the_latest_study_is_no_confirmation_where_there_is_another(
    store: StoreBuilder, new_store: Callable[..., StoreBuilder]
) -> None:
    again = new_store(name="abc-confirm")
    os.utime(again.write_info(), ns=(2, 2))
    assert latest_study(str(store.storage)) == "abc-confirm"
    os.utime(store.write_info(), ns=(1, 1))
    assert latest_study(str(store.storage)) == "abc"


def test_a_trial_that_two_files_have_with_other_figures_is_named(store: StoreBuilder) -> None:
    cell = store.cell([0.8, 0.9, 0.7])
    store.part(cell, [0.8])
    assert store.load().twice == ()
    store.part(cell, [0.95], first_seed=1)
    data = store.load()
    assert data.twice == (f"{cell}-0001",)
    (warning,) = warnings_of(data)
    assert warning.startswith(f"Trial {cell}-0001 is stored twice, with different figures: those of the first")
