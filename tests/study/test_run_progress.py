import io

import pytest
from rich.console import Console

from analysis.stored import StoredMetric
from study.run_progress import describe_progress, running_cells_table

REPORT = {"cells": 4, "ended": {"finished": 1, "failed": 1}, "trainings_per_min": 60.0, "time_left_s": 75.0}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "2 of 4 cells done, 1 failed; 60.0 trainings/min, about 1 min 15 s left"),
        ({"cells": None, "time_left_s": None}, "2 cells done, 1 failed; 60.0 trainings/min"),
        ({"ended": {}, "trainings_per_min": None, "time_left_s": None}, "0 of 4 cells done; starting"),
        (
            {"ended": {"finished": 1, "pruned": 3}, "time_left_s": 0.0},
            "4 of 4 cells done, 3 pruned; 60.0 trainings/min",
        ),
    ],
)
def test_a_run_in_one_line(changes, text):
    assert describe_progress(REPORT | changes) == text


def test_a_cell_without_an_epoch_has_no_accuracy():
    cells = [
        {"label": "first", "seeds": 10, "max_epochs": 80, "epoch": 0, "objective": None},
        {"label": "second", "seeds": 5, "max_epochs": 80, "epoch": 7, "objective": 0.8125},
    ]
    console = Console(file=io.StringIO(), width=80)
    console.print(running_cells_table(cells, StoredMetric("accuracy", "max", "%", 100)))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines[1:] == [["first", "10", "0", "of", "80"], ["second", "5", "7", "of", "80", "81.2", "%"]]
