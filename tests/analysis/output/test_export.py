import math

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.output.export import epochs_table, trials_table, write_table
from analysis.stored import AnalysisError

THIRD = 1 / 3  # has no short decimals


@pytest.fixture
def data(store):
    """Three cells: finished, failed on its second seed, and pruned; a batch size that no Parquet column says."""
    store.cell([THIRD, 0.1 + 0.2, 1.0], aux_weight=10.0, batch_size=50)
    partly = store.plan(aux_weight=0.0, sharing=True, batch_size=200)
    store.part(partly, [0.5])
    store.part(partly, [None], first_seed=1, status="failed")
    store.cell([0.25] * 3, aux_weight=1.0, batch_size=50, status="pruned")
    return store.load()


def test_a_row_a_trial_with_every_setting(data):
    frame = trials_table(data).to_pandas()
    assert frame.columns[:4].tolist() == ["study", "cell_id", "trial_id", "model"]
    assert list(zip(frame["trial_id"], frame["batch_size"], frame["status"], strict=True)) == [
        ("cell02-0000", 50, "pruned"),
        ("cell02-0001", 50, "pruned"),
        ("cell02-0002", 50, "pruned"),
        ("cell00-0000", 50, "completed"),
        ("cell00-0001", 50, "completed"),
        ("cell00-0002", 50, "completed"),
        ("cell01-0000", 200, "completed"),
        ("cell01-0001", 200, "failed"),
    ]
    assert set(frame["study"]) == {"abc"}
    assert frame.loc[7, "test_accuracy"] != frame.loc[7, "test_accuracy"]  # missing, not zero
    assert set(data.info.cells[0]) < set(frame.columns)


def test_a_row_an_epoch_keeps_the_rate_of_the_cell_and_of_the_epoch(store):
    store.cell([0.5, 0.75], learning_rate=0.01)
    path = next((store.folder / "epochs").glob("cell00-*"))
    table = pq.read_table(path)
    pq.write_table(table.append_column("learning_rate", [[0.01, 0.002] * 2]), path)
    frame = epochs_table(store.load()).to_pandas()
    assert frame[
        ["seed", "epoch", "status", "learning_rate", "epoch_learning_rate", "train_loss"]
    ].to_numpy().tolist() == [
        [0, 1, "completed", 0.01, 0.01, 1.0],
        [0, 2, "completed", 0.01, 0.002, 0.5],
        [1, 1, "completed", 0.01, 0.01, 1.0],
        [1, 2, "completed", 0.01, 0.002, 0.5],
    ]
    assert len(frame) == len(store.load().epochs)


def test_what_no_model_of_the_study_reports_is_no_column(store):
    store.cell([0.5, 0.75])
    path = next((store.folder / "trials").glob("cell00-*"))
    table = pq.read_table(path)
    for name, values in {"test_digit_accuracy": [None, math.nan], "train_accuracy": [None, 0.5]}.items():
        table = table.drop_columns(name) if name in table.column_names else table
        table = table.append_column(name, pa.array(values, pa.float64()))
    pq.write_table(table, path)
    columns = trials_table(store.load()).column_names
    assert {"train_accuracy", "error"} <= set(columns)
    assert "test_digit_accuracy" not in columns


READERS = {
    "pandas": (pd.read_csv, pd.read_parquet),
    "duckdb": (lambda path: duckdb.read_csv(str(path)).df(), lambda path: duckdb.read_parquet(str(path)).df()),
    "polars": (lambda path: pl.read_csv(path).to_pandas(), lambda path: pl.read_parquet(path).to_pandas()),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("table", [trials_table, epochs_table])
def test_csv_and_parquet_read_back_the_same_values(data, tmp_path, reader, table):
    kept = table(data)
    paths = tmp_path / "out" / "abc.csv", tmp_path / "out" / "abc.parquet"
    for path in paths:
        write_table(kept, path, force=False)
    wanted = kept.to_pandas()
    for path, read in zip(paths, READERS[reader], strict=True):
        frame = read(path)
        assert frame.columns.tolist() == wanted.columns.tolist()
        for name in wanted:
            unknown = wanted[name].isna().to_numpy()
            np.testing.assert_array_equal(frame[name].isna(), unknown)
            assert frame[name][~unknown].tolist() == wanted[name][~unknown].tolist(), name


def test_a_file_is_replaced_only_when_told_to(data, tmp_path):
    path = tmp_path / "abc.csv"
    path.write_text("mine")
    with pytest.raises(AnalysisError, match=r"abc.csv: the file exists; .*--force"):
        write_table(trials_table(data), path, force=False)
    assert path.read_text() == "mine"
    write_table(trials_table(data), path, force=True)
    assert len(pd.read_csv(path)) == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [("abc.txt", "expected a name that ends in .csv or .parquet"), ("file/abc.csv", "cannot be written")],
)
def test_what_cannot_be_written_is_told(data, tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnalysisError, match=message):
        write_table(trials_table(data), tmp_path / name, force=False)
    assert [path.name for path in tmp_path.iterdir() if path.name != "studies"] == ["file"]
