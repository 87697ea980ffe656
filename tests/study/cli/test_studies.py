import json

import pytest

from study.cli.studies import Format
from tests.study.cli.test_app import begin_smoke
from tests.study.conftest import record
from trainables.digits.settings import CellConfig


def test_the_formats_of_a_report_are_those_that_it_can_be_written_in():
    from analysis.output.page import FORMATS

    assert sorted(str(each) for each in Format) == sorted(FORMATS)


def test_lists_plans_and_status_as_json(study, make_result):
    assert study("list", "--json") == (0, "[]\n", "")
    cell = CellConfig(sharing=True, max_epochs=3)
    begin_smoke("smoke").write(make_result([record(0, 3, "completed"), record(1, 1, "failed", error="made")], cell))
    counts = {"finished": 1, "pruned": 0, "failed": 1, "missing": 6, "unreadable": []}
    assert json.loads(study("list", "--json")[1]) == [
        {"study": "smoke", "grid": "smoke", "cells": 4, "seeds": 2, "search": None, **counts}
    ]

    plan = json.loads(study("plan", "--grid", "smoke", "--json", "--cpus", "2", "--gpus", "0", "--price", "3.6")[1])
    assert (plan["study"], plan["to_train"]) == ("smoke", 7)
    (planned,) = (c for c in plan["cells"] if c["cell_id"] == cell.cell_id)
    assert planned == {
        "cell_id": cell.cell_id,
        **cell.model_dump(),
        "has": {"completed": 1, "failed": 1},
        "to_train": 1,
    }
    ahead = plan["forecast"]
    assert (ahead["cells_at_once"], ahead["rate"]["mean_s"]) == (2, 60)  # the finished training took its cell's minute
    assert [1000 * price for price in ahead["price"]] == pytest.approx(ahead["time_s"])  # 3.6 an hour

    status = json.loads(study("status", "smoke", "--json")[1])
    assert status["trials"] == {"finished": 1, "pruned": 0, "failed": 1}
    assert (status["planned"], status["missing"], status["driver"]) == (8, 6, None)
    assert status["failures"] == [{"cell": "sharing on, aux_weight 0", "error": "made"}]
    counts = [grid["trials"] for grid in json.loads(study("grids", "--json")[1])]
    assert counts == [8, 90, 160, 240, 150, 330, 80]
