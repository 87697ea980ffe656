"""What an import makes of a table, held against pandas; and every row that it refuses."""

import math

import pandas as pd
import pytest

from study.imports.runs_table import RunsTable, TableError, read_trainings

ACC = ("val_acc:max:%", "test_acc")
TRACKERS = (
    "val/acc",
    "valid_acc",
    "validation/acc",
    "metrics.val_acc",
    "summary.val.acc",
    "acc-val",
    "dev acc",
    "Val_Acc",
)


def made(**changes):
    """A table of two cells with two seeds each."""
    rows = {"lr": [0.1, 0.1, 1, 1], "norm": ["none"] * 4, "seed": [0, 1, 0, 1]}
    return pd.DataFrame({**rows, "val_acc": [90, 91.5, 92, 93], "test_acc": [80, 81, 82, 83], **changes})


def read(folder, table, name="runs.csv", **asked):
    """Read a table as a file has it."""
    file = folder / name
    table.to_csv(file, index=False) if name.endswith("csv") else table.to_parquet(file)
    return read_trainings(RunsTable(file=str(file), **{"factors": "lr,norm", "metrics": ACC, "seed": "seed"} | asked))


@pytest.mark.parametrize("name", ["runs.csv", "runs.parquet"])
def test_rows_are_those_of_the_table(tmp_path, name):
    table = made(deep=[True, False, True, False], size=[8, 8, 16, 16])
    found = read(tmp_path, table, name, factors="lr,norm,deep,size")
    assert found.kinds == {"lr": float, "norm": str, "deep": bool, "size": int}
    assert found.seeds == (0, 1)
    pd.testing.assert_frame_equal(found.rows[list(table)], table, check_dtype=False)
    assert found.describe()[0] == f"{name}: 4 trainings of 4 cells: 4 completed"
    assert found.describe()[1] == "missing: lr 0.1, norm none, deep off, size 8: seed 0"


@pytest.mark.parametrize("column", TRACKERS)
def test_the_names_of_trackers_say_the_part(tmp_path, column):
    found = read(tmp_path, made().rename(columns={"val_acc": column}), metrics=[column])
    assert found.figures == ("val_acc",)


def test_what_has_no_figure_or_says_so_has_failed(tmp_path):
    table = made(val_acc=[90, math.nan, math.inf, 93], state=["FINISHED", "Finished", "finished", "crashed"])
    found = read(tmp_path, table, status="state").rows
    assert found["status"].tolist() == ["completed", "failed", "failed", "failed"]
    assert found["error"].tolist() == [None, "val_acc is no number", "val_acc is no number", "state is crashed"]


def test_the_last_epoch_says_how_a_training_ended(tmp_path):
    table = pd.concat([made(epoch=3), made(epoch=1, val_acc=math.nan)])
    found = read(tmp_path, table, epoch="epoch")
    assert found.describe() == ["runs.csv: 4 trainings of 2 cells: 4 completed"]
    assert found.rows["epoch"].tolist() == [1, 1, 1, 1, 3, 3, 3, 3]


REFUSED = {
    "seed is '0.5' in row 1 below the header: expected a whole number": (made(seed=[0.5, 1, 0, 1]), {}),
    "lr is empty in rows 2 and 3 below the header: expected a value": (made(lr=[0.1, None, None, 1]), {}),
    "val_acc is 'high' in row 1 below the header: expected a number": (made(val_acc=["high", 1, 2, 3]), {}),
    "rows 1 and 2 below the header all have lr 0.1, norm none, seed 0; they differ in batch": (
        made(seed=[0, 0, 0, 1], batch=range(4)),
        {},
    ),
    "--factors state: the name has another meaning": (made(), {"factors": "state=lr"}),
    "rows 1, 2, 3 and 1 more below the header all have norm none, seed 0; they differ in lr, seed": (
        made(),
        {"factors": "norm", "seed": None},
    ),
    "--factors momentum: the table has no column 'momentum'; expected one of lr": (made(), {"factors": "momentum"}),
    "--seed sed: the table has no column 'sed'; did you mean seed?": (made(), {"seed": "sed"}),
    "--factors config/lr: expected letters, digits and '_'; write lr=config/lr": (made(), {"factors": "config/lr"}),
    "--factors seed: the name has another meaning in a study; write another_name=seed": (made(), {"factors": "seed"}),
    "--factors lr,lr: a name is there twice": (made(), {"factors": "lr,lr"}),
    "--metric lr: of which part of the data is it? write val_lr=lr": (made(), {"metrics": ["lr"]}),
    "--metric val_loss=lr:min: metric 'loss'": (made(), {"metrics": ["val_loss=lr:min"]}),
    "--metric val_rmse=lr: is less better? write val_rmse=lr:min": (made(), {"metrics": ["val_rmse=lr"]}),
    "--metric val_acc:most: metric acc: goal 'most': expected max or min": (made(), {"metrics": ["val_acc:most"]}),
    "--metric test_acc:min: say goal, unit and scale once": (made(), {"metrics": ["val_acc", "test_acc:min"]}),
    "--metric train_acc=lr: give its column of validation or test": (made(), {"metrics": ["train_acc=lr"]}),
    "val_acc is at most 0.9 %: if it is a fraction, write val_acc:max:%:100": (made(val_acc=0.9), {}),
    "state is 'running' in row 1 below the header: expected one of completed": (
        made(state=["running", "failed", "finished", "finished"]),
        {"status": "state"},
    ),
    "runs.csv has no row": (made().head(0), {}),
    "runs.txt: expected a .csv or .parquet file": (made(), {"name": "runs.txt"}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_bad_table_is_one_line(tmp_path, message):
    table, asked = REFUSED[message]
    with pytest.raises(TableError) as problem:
        read(tmp_path, table, **asked)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)
