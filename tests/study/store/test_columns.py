"""Parts of one study with other columns than one another: of factors, and of the metrics of each model."""

import re
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow.parquet as pq
import pytest

from analysis.load import load_study
from analysis.stored import StoredMetric, StudyInfo
from study.store.merge import join_trials
from study.store.rows import CellResult
from study.store.schema import trials_schema
from study.store.store import Store
from tests.study.conftest import build_result
from trainables import CellSettings, Metric

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGE = Path(__file__).parents[3] / "docs" / "store.md"


class Network(CellSettings):
    metrics: ClassVar = (Metric("rmse", "min"), Metric("r2"))
    normed: bool = False
    depth: int | None = None
    features: Literal["sqrt"] | float = 0.5
    dropout: Literal["none", "half"] = "none"  # another type than the column of the built-in networks
    learning_rate: Literal["low", "high"] = "low"


class Boosting(CellSettings):
    metrics: ClassVar = (Metric("rmse", "min"), Metric("error", "min"))
    normed: bool = False
    leaves: int = 4


def result(cell, seeds=(0, 1), **factors):
    records = []
    for seed in seeds:
        figures = {f"{part}_{metric.name}": 50.0 + seed for part in ("val", "test") for metric in cell.metrics}
        records.append({"seed": seed, "epoch": 1, "figures": figures, "train_time_s": 1.0} | FINISHED)
    made = build_result(records, cell)
    return CellResult(**{**vars(made), "factors": factors})


FINISHED = {"status": "completed", "error": None}
CELLS = [
    (
        Network(model="m:N", depth=3, features="sqrt"),
        {"model": "m:N", "depth": 3, "features": "sqrt", "dropout": "none"},
    ),
    (Network(model="m:N", normed=True), {"model": "m:N", "depth": None, "features": 0.5, "dropout": "none"}),
    (Boosting(model="m:B", leaves=8), {"model": "m:B", "normed": False, "leaves": 8}),
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("studies", "mixed")
    for kind in ("trials", "epochs"):
        store.folder.make(kind)
    for cell, factors in CELLS:
        store.write(result(cell, **factors))
    return store


def test_a_factor_is_a_column_of_the_settings_own_type(store):
    schema = trials_schema(*CELLS[1])
    types = dict(zip(schema.names, map(str, schema.types), strict=True))
    assert {name: types[name] for name in ("depth", "features", "dropout", "model")} == {
        "depth": "int64",
        "features": "string",
        "dropout": "string",
        "model": "string",
    }
    rows = {(row["cell_id"], row["seed"]): row for row in store.read_trials()[0]}
    first, second = (rows[cell.cell_id, 0] for cell, _ in CELLS[:2])
    assert (first["depth"], first["features"], first["dropout"], first["val_rmse"]) == (3, "sqrt", "none", 50)
    assert (second["depth"], second["features"], second["dropout"]) == (None, "0.5", "none")
    assert "learning_rate" not in first  # this model's is no number
    assert {row["status"] for row in rows.values()} == {"completed"}


def test_all_that_works_on_a_study_works_on_such_parts(store):
    network, boosting = CELLS[0][0], CELLS[2][0]
    epochs = store.read_epochs()
    assert {"val_rmse", "val_r2", "val_error", "test_error"} <= set(epochs.column_names)
    by_cell = epochs.to_pandas().groupby("cell_id")["val_error"].count()
    assert (by_cell[network.cell_id], by_cell[boosting.cell_id]) == (0, 2)
    assert len(store.read_trials("val_error")[0]) == 6
    store.write(result(network, (2,), model="m:N"))  # a later grid, in which less varies
    assert store.repair() == {}
    copy, held = Store("studies", "copy"), {}
    for kind in ("trials", "epochs"):
        copy.folder.make(kind)
    assert join_trials(store, copy, held, StoredMetric("rmse", "min")).added == 7
    assert copy.read_epochs().num_rows == 7
    copy.write(result(network, (0,), model="m:N"))  # the same part again, without the columns of two factors
    joined = join_trials(
        store, copy, {row["trial_id"]: row for row in copy.read_trials()[0]}, StoredMetric("error", "min")
    )
    assert (joined.there, joined.conflicts) == (7, ())
    assert len({tuple(pq.read_schema(path).names) for path in Path("studies/mixed/trials").iterdir()}) == 3


def test_a_setting_that_was_no_factor_in_earlier_parts_may_have_another_type_in_later_ones(store):
    cells = tuple({"cell_id": cell.cell_id, **cell.model_dump()} for cell, _ in CELLS[:2])
    metrics = StoredMetric("rmse", "min"), StoredMetric("r2")
    one = Store("studies", "one")
    one.write_info(StudyInfo("one", "g", {"model": "fixed"}, cells, (0, 1), {}, (), metrics=metrics, objective="rmse"))
    one.write(result(CELLS[0][0], model="m:N"))
    one.write(result(CELLS[1][0], **CELLS[1][1]))
    trials = load_study("studies", "one").trials
    assert trials["dropout"].value_counts().to_dict() == {"none": 2}
    assert len(trials) == 4


@pytest.mark.parametrize("reader", ["pandas", "duckdb", "polars"])
def test_one_call_of_each_reader_takes_parts_with_other_columns(store, reader):
    pytest.importorskip(reader)
    (block,) = (block for block in BLOCK.findall(PAGE.read_text()) if f"import {reader}\n" in block)
    reading, _, _ = block.partition("finished = " if reader != "duckdb" else "print(")
    names = {}
    exec(reading.replace("dropout-or-rate", "mixed"), names)
    trials = names["trials"].df() if reader == "duckdb" else names["trials"]
    frame = trials.to_pandas() if reader == "polars" else trials
    assert len(frame) == 6
    means = frame.groupby(["model", "depth", "features", "leaves"], dropna=False)[["test_rmse", "test_r2"]].mean()
    assert means["test_rmse"].tolist() == [50.5] * 3
    assert means["test_r2"].count() == 2
