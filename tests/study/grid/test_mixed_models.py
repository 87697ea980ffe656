"""Grids whose models have other settings and other metrics than one another."""

import pytest
import yaml

from study.grid.grid import Grid, GridError
from study.grid.json_schema import grid_schema
from study.grid.load import load_grid
from study.plan.jobs import plan_job, study_info

MODULE = """
from typing import ClassVar, Literal
from trainables import CellSettings, Metric

RMSE, R2 = Metric("rmse", "min", "mg/dl"), Metric("r2")

class Network:
    class Settings(CellSettings):
        metrics: ClassVar = (RMSE, R2)
        normed: bool = False
        depth: int | None = None
        width: int
    load = draw = None

class Boosting:
    class Settings(CellSettings):
        metrics: ClassVar = (Metric("error", "min"), RMSE)
        normed: bool = True
        depth: int | None = None
        subsample: float = 1.0
        features: Literal["sqrt"] | float = 0.5
    load = draw = None

class Strange:
    class Settings(CellSettings):
        metrics: ClassVar = (Metric("rmse", "max", "mg/dl"),)
        normed: Literal["yes", "no"] = "no"
        status: int = 0
        val_rmse: float = 0.0
    load = draw = None

class Bare:
    class Settings(CellSettings):
        metrics: ClassVar = ()
    load = draw = None
"""
NETWORK, BOOSTING, STRANGE, BARE = (f"mixed_models:{name}" for name in ("Network", "Boosting", "Strange", "Bare"))
GRID = {
    "name": "mixed",
    "description": "Two models.",
    "factors": {
        "model": {"role": "scientific", "values": [NETWORK, BOOSTING]},
        "normed": {"role": "tuned", "values": [False, True]},
    },
    "protocol": {"width": 8, "subsample": 0.5, "max_epochs": 4},
    "objective": "rmse",
}
NAMED = {name: {"role": of["role"]} for name, of in GRID["factors"].items()}


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch):
    (tmp_path / "mixed_models.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def grid_of(tmp_path):
    def read(**changes):
        path = tmp_path / "mixed.yaml"
        path.write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))
        return load_grid(str(path))

    return read


def factors(**changes):
    return {"factors": GRID["factors"] | changes}


def test_each_cell_has_the_settings_of_its_model(grid_of):
    rule = {"when": {"model": BOOSTING, "normed": True}, "set": {"subsample": 0.25}}
    grid = grid_of(rules=[rule])
    first, _, third, fourth = cells = grid.cells()
    assert [(cell.model, cell.normed) for cell in cells] == [
        (model, normed) for model in (NETWORK, BOOSTING) for normed in (False, True)
    ]
    assert (first.width, third.subsample, fourth.subsample) == (8, 0.5, 0.25)
    assert not hasattr(first, "subsample")
    assert grid.roles == {"model": "scientific", "normed": "tuned"}
    assert [metric.name for metric in grid.metrics] == ["rmse", "r2", "error"]
    assert (grid.objective_metric.name, grid.objective_metric.goal) == ("rmse", "min")
    info = study_info("mixed", grid, cells, (0, 1), None)
    # What the rule sets differs from cell to cell, so it is in the cells only.
    assert (info.protocol["width"], info.protocol["max_epochs"]) == (8, 4)
    assert "subsample" not in info.protocol
    assert [cell.get("subsample") for cell in info.cells] == [None, None, 0.5, 0.25]
    assert (info.goal.name, info.goal.sign, [metric.name for metric in info.metrics]) == (
        "rmse",
        -1,
        ["rmse", "r2", "error"],
    )
    assert plan_job(grid, fourth, (0,)).factors == {"model": BOOSTING, "normed": True}


def test_the_grid_of_a_studys_cells_knows_them_as_the_file_does(grid_of):
    grid = grid_of()
    cells = grid.cells()
    again = Grid.of_study(study_info("mixed", grid, cells, (0, 1), None), "some of them", cells[1:])
    assert again.objective_metric == grid.objective_metric
    for cell in cells[1:]:  # depth is None, which no grid file can say
        assert plan_job(again, cell, (0,)) == plan_job(grid, cell, (0,))


def test_a_factor_that_a_cell_does_not_name_has_its_models_default(grid_of):
    grid = grid_of(factors=NAMED, cells=[{"model": NETWORK}, {"model": BOOSTING}, {"model": NETWORK, "normed": True}])
    assert [cell.normed for cell in grid.cells()] == [False, True, True]


def test_a_search_may_choose_among_models(grid_of):
    ranges = {"model": {"choices": [NETWORK, BOOSTING]}, "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    grid = grid_of(factors={}, search={"ranges": ranges, "budget": {"trainings": 100}})
    assert {(cell.model, cell.learning_rate) for cell in grid.ends(None)} == {
        (model, rate) for model in (NETWORK, BOOSTING) for rate in (1e-3, 1e-1)
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            factors(width={"role": "tuned", "values": [1, 2]}),
            "factors.width: mixed_models:Boosting has no such setting",
        ),
        (factors(depht={"role": "tuned", "values": [1, 2]}), "factors.depht: unknown setting; did you mean depth?"),
        ({"protocol": {"subsampel": 0.5}}, "protocol.subsampel: unknown setting; did you mean subsample?"),
        (
            {"protocol": {"subsample": 0.5}},
            "mixed_models:Network, normed off needs a value of width; set it in protocol",
        ),
        ({"objective": "rsme"}, "objective: rsme is not a metric of all models of this grid; did you mean rmse?"),
        ({"objective": "r2"}, "objective: r2 is not a metric of all models of this grid; expected one of rmse"),
        ({"skip": [{"model": "mixed_models:Networks"}]}, "no model of this grid; did you mean mixed_models:Network?"),
        (
            factors(model={"role": "scientific", "values": [NETWORK, STRANGE]}),
            "factors.normed: mixed_models:Network has it as bool, mixed_models:Strange as str; let both have one type",
        ),
        (
            {"factors": {"model": {"role": "scientific", "values": [NETWORK, STRANGE]}}, "protocol": {}},
            "the metric rmse of mixed_models:Strange and of another model differ",
        ),
        (
            {"factors": {"model": {"role": "scientific", "values": [NETWORK, BARE]}}, "protocol": {}},
            "the Settings of mixed_models:Bare name no metrics; expected metrics = (Metric(...),)",
        ),
        (
            {"factors": NAMED, "cells": [{"model": NETWORK}, {"model": BOOSTING}, {"normed": True}]},
            "cells[2]: the cell names no model; expected one of mixed_models:Network, mixed_models:Boosting",
        ),
    ],
)
def test_a_problem_is_one_line_with_the_nearest_name(grid_of, changes, message):
    with pytest.raises(GridError) as problem:
        grid_of(**changes)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("name", ["status", "val_rmse"])
def test_a_factor_is_no_other_column_of_the_store(grid_of, name):
    with pytest.raises(GridError, match=rf"factors.{name}: every study has another column of this name; rename"):
        grid_of(factors={name: {"role": "tuned", "values": [0, 1]}}, protocol={"model": STRANGE})


def test_editors_know_the_metrics_of_a_model():
    assert grid_schema(NETWORK)["properties"]["objective"]["enum"] == ["rmse", "r2"]
