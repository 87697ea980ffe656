"""The public API on a small real store, its numbers by hand; the notebook's test runs a study by it."""

import json
import subprocess
import sys

import pytest
from matplotlib import pyplot

import study
from analysis.stored import AnalysisError
from study.cli.studies import Format, analyze
from study.errors import StudyError
from tests.analysis.conftest import StoreBuilder


@pytest.fixture
def storage(tmp_path):
    """A study of three cells and three seeds: a complete pair, and one that was pruned."""
    builder = StoreBuilder(tmp_path / "studies", name="own")
    builder.cell([0.80, 0.82, 0.87])
    builder.cell([0.85, 0.86, 0.93], sharing=True)
    builder.cell([0.5, 0.5, 0.5], status="pruned", aux_weight=1)
    contrast = {"name": "sharing", "plus": [{"sharing": True}], "minus": [{"sharing": False, "aux_weight": 0}]}
    builder.write_info(contrasts=[contrast])
    return tmp_path / "studies"


def test_importing_it_loads_neither_torch_nor_ray():
    code = (
        "import study, sys; first = len(sys.modules); study.load, study.run\n"
        "print([name for name in ('torch', 'ray', 'matplotlib', 'statsmodels') if name in sys.modules], first)"
    )
    modules, first = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.rsplit(maxsplit=1)
    assert modules == "[]"
    assert int(first) < 200  # of its own it imports next to nothing: pandas alone has some 700


def test_trials_means_and_contrasts(storage):
    own = study.load("own", storage)
    assert repr(own) == "<study own: 3 cells, 9 trials>"
    assert own.trials["status"].value_counts().to_dict() == {"completed": 6, "pruned": 3}
    assert len(own.epochs) == 18
    means = own.means().set_index("cell_id")
    assert means["state"].to_dict() == {"cell00": "complete", "cell01": "complete", "cell02": "pruned"}
    # 0.80, 0.82, 0.87: squares of the deviations -0.03, -0.01 and 0.04 add up to 0.0026
    assert means.loc["cell00", "test_accuracy_mean"] == pytest.approx(0.83)
    assert means.loc["cell00", "test_accuracy_std"] == pytest.approx(0.0013**0.5)
    assert means["test_accuracy_mean"].isna().to_dict() == {"cell00": False, "cell01": False, "cell02": True}
    (contrast,) = own.contrasts().to_dict("records")
    # Differences 0.05, 0.04, 0.06; t = 0.05 / (0.01 / sqrt(3)) = sqrt(75), and with two degrees of freedom
    # p = 1 - t / sqrt(2 + t^2); the t interval reaches 4.302653 standard errors.
    assert contrast["mean"] == pytest.approx(0.05)
    assert contrast["low"] == pytest.approx(0.05 - 4.302653 * 0.01 / 3**0.5)
    assert contrast["p"] == contrast["p_holm"] == pytest.approx(1 - (75 / 77) ** 0.5)


def test_table1_claims_and_figures(storage):
    own = study.load(storage=storage)  # the one that ran last
    table1 = own.table("table1").set_index(["row", "sharing"])["test_accuracy_mean"].dropna()
    assert sorted(table1) == pytest.approx([0.83, 0.88])
    assert own.table("claims").set_index("key").loc["sharing alone", "measured_mean"] == pytest.approx(0.05)
    assert "figure2" in own.figures
    figure = own.figure("figure2")
    assert len(figure.axes) == 1
    assert not pyplot.get_fignums()
    for ask, wrong in ((own.table, "tabel1"), (own.figure, "figure9")):
        with pytest.raises(AnalysisError, match=f"'{wrong}' in study own: expected one of .*(table1|figure1|figure2)"):
            ask(wrong)


def test_commands_say_the_same(storage, tmp_path, capsys):
    own = study.load("own", storage)
    paths = own.report(tmp_path / "by-api", ["md", "csv"])
    analyze("own", str(storage), tmp_path / "by-command", [Format.md, Format.csv])
    assert {path.name: path.read_bytes() for path in paths} == {
        path.name: path.read_bytes() for path in (tmp_path / "by-command").iterdir()
    }
    capsys.readouterr()
    analyze("own", str(storage), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["contrasts"][0]["mean"] == own.contrasts()["mean"][0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sede": 3}, TypeError, "study.run() has no option 'sede': did you mean seeds?"),
        ({"quite": True}, TypeError, "study.run() has no option 'quite': did you mean quiet?"),
        ({"seeds": 0}, StudyError, "--seeds 0: expected 1 to 1,000,000"),
        ({"track": ["neptune"]}, StudyError, "--track neptune: expected one of tensorboard, mlflow, wandb"),
        ({"data": "cifar"}, StudyError, "grid smoke: expected 'mnist5k' or 'mnist', not 'cifar'"),
    ],
)
def test_a_run_refuses_what_is_no_option_of_it(tmp_path, options, error, message):
    with pytest.raises(error) as raised:
        study.run("smoke", storage=tmp_path, **options)
    assert str(raised.value) == message
    assert not list(tmp_path.iterdir())


def test_list_studies(storage, tmp_path):
    builder = StoreBuilder(storage, name="half")
    builder.cell([0.8, None, 0.8])
    builder.part("cell00", [None], status="failed", first_seed=1)
    builder.plan(aux_weight=3)
    builder.write_info()
    (storage / "half" / "trials" / "cell01-0.parquet").write_bytes(b"PAR1")
    listed = study.list_studies(storage).set_index("study")
    assert listed.loc["own"].to_dict() == {
        **{"grid": "full", "cells": 3, "seeds": 3},
        **{"finished": 6, "pruned": 3, "failed": 0, "missing": 0, "unreadable": {}},
    }
    assert listed.loc["half", "missing"] == 3
    assert list(listed.loc["half", "unreadable"]) == ["trials/cell01-0.parquet"]
    assert study.list_studies(tmp_path / "nowhere").empty
