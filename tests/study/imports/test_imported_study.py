"""Studies of tables that were made elsewhere: their rows by pandas, and all that can be done with them."""

import json
from pathlib import Path

import pandas as pd
import pytest

import study as api

ROOT = Path(__file__).parents[3]
OPTUNA = ROOT / "examples" / "optuna_trials.csv"
COLUMNS = ["--factors", "lr=params_lr,momentum=params_momentum", "--seed", "params_seed", "--status", "state"]
METRICS = ["--metric", "val_rmse=value:min", "--metric", "test_rmse=user_attrs_test_rmse"]
IMPORT = ["import", str(OPTUNA), "--into", "mlp", *COLUMNS, *METRICS]
CONTRAST = "momentum at 0.001: lr=0.001, momentum=0.9 minus lr=0.001, momentum=0"
CHOSEN = "momentum: momentum=0.9 minus momentum=0"
GRID = """
name: diabetes
description: What does momentum do?
factors:
  momentum: {role: scientific, values: [0.5]}
  lr: {role: tuned}
contrasts:
  - {name: momentum, plus: [{momentum: 0.9}], minus: [{momentum: 0}]}
"""


def files():
    return {path: path.read_bytes() for path in Path("studies").rglob("*") if path.is_file()}


def stored(kind, name="mlp"):
    return pd.read_parquet(f"studies/{name}/{kind}")


def by_momentum(column):
    """The values of a column by momentum: one row per seed, one column per rate."""
    table = pd.read_csv(OPTUNA)
    return {
        momentum: rows.pivot(index="params_seed", columns="params_lr", values=column)
        for momentum, rows in table.groupby("params_momentum")
    }


def test_rows_are_those_of_optuna(study):
    code, out, _ = study(*IMPORT, "--contrast", CONTRAST)
    assert code == 0
    assert out.splitlines()[0] == "optuna_trials.csv: 30 trainings of 6 cells: 20 completed, 10 failed"
    table = pd.read_csv(OPTUNA).set_index(["params_lr", "params_momentum", "params_seed"]).sort_index()
    rows = stored("trials").set_index(["lr", "momentum", "seed"]).sort_index()
    assert rows["val_rmse"].tolist() == pytest.approx(table["value"].tolist(), rel=0, abs=0, nan_ok=True)
    assert rows["test_rmse"].tolist() == pytest.approx(table["user_attrs_test_rmse"].tolist(), rel=0, nan_ok=True)
    assert (rows["status"] == "failed").tolist() == (table["state"] == "FAIL").tolist()
    assert set(rows["error"].dropna()) == {"state is FAIL"}
    # What a table does not say is not known.
    assert rows[["epochs", "best_epoch", "best_val_rmse", "train_time_s", "started_at"]].isna().all(axis=None)
    assert stored("epochs").empty
    info = json.loads(Path("studies/mlp/study.json").read_text())
    assert info["objective"] == "rmse"
    assert info["metrics"] == [{"name": "rmse", "goal": "min", "unit": "", "scale": 1.0}]
    assert info["protocol"] == {"model": "imported"}
    assert info["runs"][0]["imported_from"] == OPTUNA.name


def test_epochs_give_the_last_and_the_best(study):
    table = pd.DataFrame(
        {"step": [2, 0, 1, 0], "seed": [0, 0, 0, 1], "lr": 0.1, "val/acc": [2.0, 5, None, 3], "test/acc": [7, 8, 9, 6]}
    )
    table.to_parquet("runs.parquet")
    arguments = ["--factors", "lr", "--seed", "seed", "--epoch", "step", "--metric", "val/acc", "--metric", "test/acc"]
    assert study("import", "runs.parquet", "--into", "curves", *arguments)[0] == 0
    rows = stored("trials", "curves").set_index("seed")
    assert rows.loc[0, ["epochs", "val_acc", "test_acc", "best_epoch", "best_val_acc", "best_test_acc"]].tolist() == [
        3,
        2,
        7,
        0,
        5,
        8,
    ]
    assert rows["epochs"].tolist() == [3, 1]
    epochs = stored("epochs", "curves").sort_values(["seed", "epoch"])
    assert epochs["test_acc"].tolist() == [8, 9, 7, 6]


def test_more_trainings_join_a_study_and_none_is_changed(study):
    table = pd.read_csv(OPTUNA)
    table[table["params_seed"] < 3].to_csv("first.csv")
    assert study("import", "first.csv", *IMPORT[2:], "--contrast", CONTRAST)[0] == 0
    before = stored("trials")
    table.loc[table["params_seed"] == 0, "value"] += 1
    table.loc[table["state"] == "FAIL", ["value", "user_attrs_test_rmse", "state"]] = [1.0, 2.0, "COMPLETE"]
    table.to_csv("second.csv")
    code, out, _ = study("import", "second.csv", *IMPORT[2:])
    assert code == 0
    assert "18 trials added, 6 of them in place of pruned or failed ones, 8 were there already, 4 were" in out
    after = stored("trials")
    assert len(after) == 30
    kept = before[before["status"] == "completed"].merge(after, on=["trial_id", "val_rmse", "test_rmse"])
    assert len(kept) == 12
    info = json.loads(Path("studies/mlp/study.json").read_text())
    assert info["seeds"] == [0, 1, 2, 3, 4]
    assert [contrast["name"] for contrast in info["contrasts"]] == ["momentum at 0.001"]
    assert len(info["runs"]) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            ["--factors", "lr=params_lr,nesterov=params_momentum"],
            "the study mlp has the factors lr, momentum, not lr, nesterov",
        ),
        (
            ["--factors", "lr=params_lr,momentum=state", "--seed", "number"],
            "momentum is str in optuna_trials.csv, float in the study mlp",
        ),
        (
            ["--metric", "val_rmse=value:max", "--metric", "test_rmse=user_attrs_test_rmse"],
            "the metric rmse differs in mlp and optuna_trials.csv (min, unit",
        ),
        (["--contrast", "a: lr=0.1 minus lr=0.001"], "--contrast: contrasts[0].plus[0]: no cell matches lr 0.1"),
        (["--contrast", "a: lr=b minus lr=0.001"], "--contrast a: lr=b minus lr=0.001: lr is float, not 'b'"),
        (["--contrast", "a: l=1 minus lr=0.001"], "no factor 'l'; did you mean lr?"),
        (["--contrast", "a: lr=1 - lr=0.001"], "expected NAME: FACTOR=VALUE, ... minus FACTOR=VALUE"),
    ],
)
def test_what_does_not_fit_a_study_changes_nothing(study, changed, message):
    assert study(*IMPORT)[0] == 0
    before = files()
    options = [*METRICS, *changed] if changed[0] != "--metric" else changed
    code, _, problem = study("import", str(OPTUNA), "--into", "mlp", *COLUMNS, *options)
    assert (code, problem.count("\n")) == (2, 1)
    assert message in problem
    assert files() == before


def test_a_table_without_validation_is_chosen_by_test_and_says_so(study):
    assert study(*IMPORT[:-4], "--metric", "test_rmse=user_attrs_test_rmse:min", "--contrast", CHOSEN)[0] == 0
    assert study("analyze", "mlp", "--format", "html")[0] == 0
    page = Path("reports/mlp/report.html").read_text()
    assert "The study has no validation part: cells are chosen by test rmse" in page
    table = by_momentum("user_attrs_test_rmse")
    best = [table[momentum][table[momentum].mean().idxmin()] for momentum in (0.9, 0.0)]
    (row,) = json.loads(study("analyze", "mlp", "--json")[1])["contrasts"]
    assert row["mean"] == pytest.approx((best[0] - best[1]).mean())
    assert study(*IMPORT)[2].startswith("study: the part of the data that chooses cells is test in mlp and val in")


def test_contrasts_are_differences_by_seed(study):
    assert study(*IMPORT, "--contrast", CONTRAST, "--contrast", CHOSEN)[0] == 0
    one, best = json.loads(study("analyze", "mlp", "--json")[1])["contrasts"]
    table, chosen = by_momentum("user_attrs_test_rmse"), by_momentum("value")
    difference = table[0.9][0.001] - table[0.0][0.001]
    assert (one["n"], one["mean"]) == (5, pytest.approx(difference.mean()))
    sides = [table[momentum][chosen[momentum].mean().idxmin()] for momentum in (0.9, 0.0)]
    assert best["mean"] == pytest.approx((sides[0] - sides[1]).mean())
    found = api.load("mlp")
    assert found.means()["state"].value_counts().to_dict() == {"complete": 4, "failed": 2}
    assert study("diff", "mlp", "mlp")[0] == 0
    assert study("export", "mlp", "--out", "mlp.csv")[0] == 0
    assert pd.read_csv("mlp.csv")["val_rmse"].sum() == pytest.approx(pd.read_csv(OPTUNA)["value"].sum())


def test_python_imports_as_the_command_does(study):
    columns = {"factors": COLUMNS[1], "seed": "params_seed", "status": "state", "metrics": METRICS[1::2]}
    found = api.import_runs(OPTUNA, "mlp", contrasts=[CONTRAST], **columns)
    assert study(*IMPORT[:3], "again", *IMPORT[4:], "--contrast", CONTRAST)[0] == 0
    pd.testing.assert_frame_equal(found.contrasts(), api.load("again").contrasts())


def test_a_grid_file_has_roles_and_contrasts(study):
    Path("grid.yaml").write_text(GRID)
    assert study(*IMPORT, "--grid", "grid.yaml")[0] == 0
    info = json.loads(Path("studies/mlp/study.json").read_text())
    assert info["roles"] == {"momentum": "scientific", "lr": "tuned"}
    assert (info["grid"], info["description"]) == ("diabetes", "What does momentum do?")
    assert [contrast["name"] for contrast in info["contrasts"]] == ["momentum"]
    # A later import weakens no role.
    Path("grid.yaml").write_text(GRID.replace("scientific", "tuned"))
    assert study(*IMPORT, "--grid", "grid.yaml")[0] == 0
    assert json.loads(Path("studies/mlp/study.json").read_text())["roles"] == info["roles"]
    Path("grid.yaml").write_text(GRID.replace("0.9", "0.7"))
    code, _, problem = study(*IMPORT[:3], "other", *IMPORT[4:], "--grid", "grid.yaml")
    assert code == 2
    assert problem == "study: grid.yaml:8: contrasts[0].plus[0]: no cell matches momentum 0.7\n"


def test_nothing_is_trained_in_an_imported_study(study):
    assert study(*IMPORT)[0] == 0
    for command in (["run", "--grid", "smoke", "--name", "mlp"], ["plan", "--grid", "smoke", "--name", "mlp"]):
        code, _, problem = study(*command)
        assert code == 2
        assert problem == "study: the study mlp was imported: nothing can be trained in it; use another --name\n"


def test_imports_are_archived_merged_and_told_apart(study):
    assert study(*IMPORT)[0] == 0
    assert study("archive", "mlp", "--out", "mlp.tar.gz")[0] == 0
    assert study("restore", "mlp.tar.gz", "--storage", "other")[0] == 0
    code, out, _ = study("merge", "mlp", "other/mlp", "--into", "both")
    assert code == 0
    assert "other/mlp: 0 trials added, 30 were there already" in out
    assert "both: 30 trials: 20 finished, 10 failed" in study("status", "both")[1]
    rates = ["--factors", "lr=params_lr", "--seed", "number", *METRICS]
    assert study("import", str(OPTUNA), "--into", "rates", *rates)[0] == 0
    code, _, problem = study("merge", "mlp", "rates", "--into", "both")
    assert code == 2
    assert "both and rates have other factors: a cell has no momentum" in problem
