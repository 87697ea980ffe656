"""The example of your own model, run and analysed as its docstring says."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import WITHOUT_TRACKERS

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, one_core):
    """The example with fewer seeds and epochs, run and analysed in its own folder."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copy(EXAMPLES / "breast_cancer.py", folder)
    grid = yaml.safe_load((EXAMPLES / "breast_cancer.yaml").read_text())
    grid["protocol"]["max_epochs"] = 20
    (folder / "breast_cancer.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    options = ["--seeds", "4", "--cells-per-trial", "2", "--address", one_core.address]
    study(folder, "run", "--grid", "breast_cancer.yaml", *options)
    study(folder, "analyze", "--format", "csv", "--format", "html", "--format", "png")
    return folder


def study(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STUDY_", "RAY_"))}
    command = [sys.executable, "-m", "study", *arguments]
    environment["PYTHONPATH"] = f"{EXAMPLES.parent}{os.pathsep}{WITHOUT_TRACKERS}"
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def table(folder, name):
    with (folder / "reports" / "breast-cancer" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_cell_has_its_rows(folder):
    trials = pd.read_parquet(folder / "studies" / "breast-cancer" / "trials")
    assert len(trials) == 8 * 4
    assert set(trials["model"]) == {"breast_cancer:BreastCancer"}
    assert set(trials["status"]) <= {"completed", "converged"}
    assert "test_digit_accuracy" not in trials  # a metric of other models
    assert set(trials["units"]) == {8, 32}
    assert (trials["test_accuracy"] * 171 % 1).round(9).isin([0, 1]).all()  # 30 % of 569 tumours


def test_the_contrasts_are_the_differences_of_the_cells_that_they_name(folder):
    cells = {(row["standardise"], row["dropout"], row["units"]): row for row in table(folder, "cells")}
    best = {
        (on, p): max((cells[on, p, n] for n in ["8", "32"]), key=lambda row: float(row["val_accuracy_mean"]))
        for on, p in (("True", "0.0"), ("False", "0.0"))
    }
    first = table(folder, "contrasts")[0]
    plus, minus = (float(best[on, "0.0"]["test_accuracy_mean"]) for on in ("True", "False"))
    assert float(first["mean"]) == pytest.approx(plus - minus)
    assert float(first["low"]) > 0  # standardised inputs are better: so it is known of networks


def test_the_report_is_of_this_study_and_not_of_the_digits(folder):
    report = folder / "reports" / "breast-cancer"
    page = (report / "report.html").read_text().replace("digit-comparator-study", "")
    assert "What do standardised inputs and dropout each buy" in page
    assert (report / "curves.png").is_file()
    for word in ("digit", "comparator", "sharing", "Table I"):
        assert word not in page


def test_settings_of_the_model_are_columns_of_an_export(folder):
    study(folder, "export", "breast-cancer", "--out", "all.parquet")
    rows = pd.read_parquet(folder / "all.parquet")
    assert set(rows["units"]) == {8, 32}
    assert set(rows["standardise"]) == {True, False}
    assert len(rows) == 32


def test_more_seeds_and_the_status_need_no_more_than_for_the_reports_networks(folder):
    assert "32 trials of 8 cells to train" in study(folder, "plan", "--grid", "breast_cancer.yaml", "--seeds", "8")
    assert "breast-cancer" in study(folder, "list")
    assert "32" in study(folder, "status", "breast-cancer")


def test_the_best_cells_are_confirmed_with_fresh_seeds(folder, one_core):
    study(folder, "confirm", "breast-cancer", "--seeds", "2", "--address", one_core.address)
    trials = pd.read_parquet(folder / "studies" / "breast-cancer-confirm" / "trials")
    assert set(trials["seed"]) == {1_000_000, 1_000_001}
    assert len(trials) == 2 * trials["cell_id"].nunique()
