"""Studies, archives and files of options from version 0.1.0: they go on working.

tests/data has a study that the last commit before the three buildings wrote (``before.yaml`` is its grid, of four cells
and two seeds), its archive, and the JSON that ``study analyze`` of then printed of it.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.load import load_study
from analysis.stored import FIRST_METRICS
from study.grid.load import load_grid
from study.plan.jobs import plan_run
from study.plan.run_options import RunOptions
from study.store.merge import merge_studies
from study.store.store import Store
from tests.study.conftest import build_result, record
from tests.study.driver.test_runs import assert_rows_are_as_trained_directly
from tests.study.driver.test_runs import study as study_in_a_process

DATA = Path(__file__).parents[1] / "data"
GRID = DATA / "before.yaml"


@pytest.fixture
def studies(tmp_path):
    """A storage with the study of before."""
    return Path(shutil.copytree(DATA / "studies-0.1.0", tmp_path / "studies"))


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def figures(value, at=()):
    """All numbers, switches and ids of some JSON by their place: everything but prose, which may be worded anew."""
    if isinstance(value, dict):
        return {place: leaf for key, of in value.items() for place, leaf in figures(of, (*at, key)).items()}
    if isinstance(value, list):
        return {place: leaf for index, of in enumerate(value) for place, leaf in figures(of, (*at, index)).items()}
    return {} if isinstance(value, str) and at[-1] not in ("cell_id", "state") else {at: value}


def assert_analysed_as_before(text):
    now, before = figures(json.loads(text)), figures(json.loads((DATA / "before.json").read_text()))
    # What is reported otherwise today (docs/LOG.md): no bootstrap intervals, no interval beyond 0 and 1, and no
    # verdict of cells that were trained for fewer epochs than in the report.
    before = {at: value for at, value in before.items() if "bca_" not in str(at[-1])}
    before = {at: value for at, value in before.items() if at[0] != "claims" or now.get(at) is not None}
    for at in before:
        if at[0] == "cells" and at[-1] in ("test_accuracy_low", "test_accuracy_high"):
            before[at] = min(max(before[at], 0.0), 1.0)
    assert len(before) > 200
    numbers = {at for at, value in before.items() if isinstance(value, float)}
    assert {at: now[at] for at in numbers} == pytest.approx({at: before[at] for at in numbers}, rel=1e-9, abs=1e-12)
    assert {at: now.get(at) for at in before.keys() - numbers} == {at: before[at] for at in before.keys() - numbers}


def test_a_store_of_before_is_read_and_analysed_with_the_same_numbers(study, studies):
    assert json.loads(study("status", "before", "--json")[1])["trials"] == {"finished": 8, "pruned": 0, "failed": 0}
    (listed,) = json.loads(study("list", "--json")[1])
    assert (listed["study"], listed["finished"], listed["missing"], listed["unreadable"]) == ("before", 8, 0, [])
    code, text, errors = study("analyze", "before", "--json")
    assert (code, errors) == (0, "")
    assert_analysed_as_before(text)
    before = Store(str(studies), "before")
    assert before.repair() == {}
    assert files(studies) == files(DATA / "studies-0.1.0")


def test_an_archive_of_before_is_restored_and_written_again_byte_by_byte(study, studies, tmp_path):
    code, out, errors = study("restore", str(DATA / "before.tar.gz"), "--storage", "others")
    assert (code, errors) == (0, "")
    assert "8 finished" in out
    assert files(tmp_path / "others") == files(studies)
    assert study("archive", "before", "--out", "again.tar.gz", "--storage", "others")[0] == 0
    assert study("restore", "again.tar.gz", "--storage", "third")[0] == 0
    assert files(tmp_path / "third") == files(studies)


def test_a_store_of_before_is_merged(study, studies):
    code, out, errors = study("merge", "before", "--into", "both")
    assert (code, errors) == (0, "")
    assert "8 finished" in out
    (rows, old) = (Store(str(studies), name).read_trials()[0] for name in ("both", "before"))
    assert sorted(rows, key=lambda row: row["trial_id"]) == sorted(old, key=lambda row: row["trial_id"])
    assert Store(str(studies), "both").read_epochs().num_rows == Store(str(studies), "before").read_epochs().num_rows
    assert_analysed_as_before(study("analyze", "both", "--json")[1])


def test_a_study_toml_of_before_still_works(study, tmp_path, studies):
    """Every option that 0.1.0 took from the file, at the top for all commands and in the tables of some."""
    (tmp_path / "study.toml").write_text(
        f"""
grid = "{GRID}"
storage = "studies"
seeds = 3
scheduler = "none"
cpus-per-trial = 1
cells-per-trial = 1

[run]
name = "before"
data = "mnist5k"
data-dir = "data"
gpus-per-trial = 0
retries = 1
epoch-limit = 60
track = ["tensorboard"]

[confirm]
seeds = 4

[plan]
name = "before"
nodes = 1
cpus = 2
gpus = 0
price = 0.5

[analyze]
format = ["csv"]
out = "report"

[export]
epochs = true

[grids.show]
cells = true
"""
    )
    code, text, errors = study("plan", "--json")
    assert (code, errors) == (0, "")
    planned = json.loads(text)
    assert (planned["study"], planned["seeds"], planned["to_train"]) == ("before", 3, 4)
    assert study("analyze", "before")[0] == 0
    assert {path.suffix for path in (tmp_path / "report").rglob("*") if path.is_file()} >= {".csv"}
    assert study("export", "before", "--out", "rows.csv")[0] == 0
    assert "epoch" in pd.read_csv(tmp_path / "rows.csv")
    assert load_grid(str(GRID)).cells()[0].cell_id in study("grids", "show", str(GRID))[1]


OWN = """
from trainables import CellSettings

class Model:
    class Settings(CellSettings):
        units: int = 8
    load = draw = None
"""
OWN_GRID = """
name: own
description: A model of your own, before metrics were data.
factors: {units: {role: scientific, values: [4, 8]}}
protocol: {model: "own_before:Model"}
"""


def test_a_study_of_before_of_your_own_model_goes_on_with_other_columns(tmp_path, monkeypatch):
    (tmp_path / "own_before.py").write_text(OWN)
    (tmp_path / "own.yaml").write_text(OWN_GRID)
    monkeypatch.syspath_prepend(tmp_path)
    asked = RunOptions(grid=tmp_path / "own.yaml", storage=tmp_path, seeds=2)
    work = asked.resolve()
    work.store.write_info(work.info)
    results = {cell: finished(cell, seeds=(0, 1)) for cell in work.cells}
    for result in results.values():
        work.store.write(result)

    # As 0.1.0 wrote it: the columns of the report's networks, no factors, no metrics, fewer settings.
    for kind in ("trials", "epochs"):
        old = pq.read_schema(next((DATA / "studies-0.1.0" / "before" / kind).iterdir()))
        for path in (tmp_path / "own" / kind).iterdir():
            table = pq.read_table(path)
            columns = {name: table[name] if name in table.column_names else pa.nulls(len(table)) for name in old.names}
            pq.write_table(pa.table(columns).cast(old), path)
    info = work.info.as_dict()
    of_then = ("model", "max_epochs", "learning_rate", "batch_size", "cell_id", "units")
    info["cells"] = [{name: value for name, value in cell.items() if name in of_then} for cell in info["cells"]]
    info["protocol"] = {name: value for name, value in info["protocol"].items() if name in of_then}
    (tmp_path / "own" / "study.json").write_text(json.dumps({k: v for k, v in info.items() if k not in AFTER}))

    again = replace(asked, seeds=3).resolve()
    assert plan_run(again, again.store.read_trials()[0]).trials == 2
    assert (again.info.metrics, again.info.objective) == (FIRST_METRICS, "accuracy")
    assert again.info.protocol == work.info.protocol
    again.store.write_info(again.info)
    again.store.write(finished(again.cells[0], seeds=(2,)))
    assert again.store.repair() == {}
    assert len({tuple(pq.read_schema(path).names) for path in (tmp_path / "own" / "trials").iterdir()}) == 2
    trials = load_study(str(tmp_path), "own").trials
    assert trials["test_accuracy"].tolist() == [0.5] * 5
    merge_studies([str(tmp_path / "own")], "both", str(tmp_path))
    assert len(Store(str(tmp_path), "both").read_trials()[0]) == 5


AFTER = ("metrics", "objective")


def finished(cell, seeds):
    result = build_result([record(seed, 1, "completed") for seed in seeds], cell)
    return replace(result, factors={"units": cell.units})


@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_study_of_before_is_resumed_with_a_third_seed(studies, cluster):
    old = files(studies / "before")
    arguments = ("--grid", GRID, "--seeds", 3, "--storage", studies)
    refused = study_in_a_process("run", *arguments, address=cluster.address)
    assert refused.returncode == 2
    assert "trained by the code built-in 1, now it is built-in 2" in refused.stdout + refused.stderr
    assert files(studies / "before") == old
    why = "rounding differs, no more"
    run = study_in_a_process("run", *arguments, "--same-code", why, address=cluster.address)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "8 completed" in run.stdout

    now = files(studies / "before")
    assert all(now[name] == content for name, content in old.items() if name != "study.json")
    before, info = json.loads(old["study.json"]), json.loads(now["study.json"])
    assert info["seeds"] == [0, 1, 2]
    assert [cell["cell_id"] for cell in info["cells"]] == [cell["cell_id"] for cell in before["cells"]]
    assert info["runs"][: len(before["runs"])] == before["runs"]
    assert len(info["runs"]) == len(before["runs"]) + 1
    assert info["runs"][-1]["same_code"] == why

    trials, epochs = (pd.read_parquet(studies / "before" / kind) for kind in ("trials", "epochs"))
    assert len(trials) == 12
    new = trials[trials["seed"] == 2], epochs[epochs["seed"] == 2]
    assert_rows_are_as_trained_directly(*new, load_grid(str(GRID)).cells(), (2,))
