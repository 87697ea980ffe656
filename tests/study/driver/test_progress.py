import io
import math

import pytest

from analysis.stored import StoredMetric
from study.console import PlainConsole
from study.driver.progress import Progress
from study.plan.jobs import Job
from trainables.digits.settings import CellConfig

ACCURACY = StoredMetric("accuracy", "max", "%", 100)


@pytest.fixture
def clock():
    """A clock that the test sets: clock.now in seconds."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


def job(label):
    """A job of ten seeds and at most 80 epochs; jobs of different labels are of different cells."""
    cell = CellConfig(aux_weight=ord(label[-1]), max_epochs=80)
    return Job(cell, tuple(range(10)), whole=True, label=label, stratum=(), protected=False)


def key(label):
    return job(label).cell.cell_id


def screen(terminal=False):
    return PlainConsole(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)


def test_a_cell_that_is_tried_again_says_why(clock):
    console = screen()
    with Progress(4, ACCURACY, console, clock) as progress:
        progress.cell_started(job("sharing off"))
        progress.cells_set_back([key("sharing off")], "OSError: [Errno 5] disk gone")
        progress.cells_set_back([key("sharing off"), "b", "c"], "gone")
    then = "it continues from its last checkpoint, or begins again if it has none"
    assert console.file.getvalue().splitlines() == [
        f"sharing off: OSError: [Errno 5] disk gone; {then}",
        f"sharing off and 2 cells with it: gone; {then}",
    ]


def test_plain_lines_name_the_cell_and_how_far_the_run_is(clock):
    console = screen()
    with Progress(4, ACCURACY, console, clock) as progress:
        progress.cell_started(job("sharing off"))
        progress.cell_advanced(key("sharing off"), 60, 0.8125)
        clock.now += 30
        progress.cell_ended(key("sharing off"), "finished", [])
    (line,) = console.file.getvalue().splitlines()
    # One of four cells in 30 s: three more take 90 s; 10 trainings in half a minute.
    assert line == (
        "sharing off: finished at epoch 60, validation accuracy 81.2 % | "
        "1 of 4 cells done; 20.0 trainings/min, about 1 min 30 s left"
    )


def test_time_left_counts_running_cells_by_the_epochs_that_ended_ones_took(clock):
    progress = Progress(4, ACCURACY, screen(), clock)
    assert progress.time_left_s() is None
    clock.now += 1000  # Ray starts
    progress.cell_started(job("a"))
    progress.cell_advanced(key("a"), 20, 0.5)
    clock.now += 10
    # A quarter of the first cell's 80 epochs in 10 s, so 3.75 cells more at 40 s each.
    assert progress.time_left_s() == pytest.approx(150)
    progress.cell_advanced(key("a"), 40, 0.5)
    clock.now += 10
    progress.cell_ended(key("a"), "finished", [])
    progress.cell_started(job("b"))
    progress.cell_advanced(key("b"), 20, 0.5)
    # 20 of an expected 40 epochs: 1.5 cells in 20 s, 2.5 to go.
    assert progress.time_left_s() == pytest.approx(20 * 2.5 / 1.5)


def test_summary_counts_pruned_and_failed(clock):
    progress = Progress(3, ACCURACY, screen(), clock)
    for label, how in (("a", "finished"), ("b", "pruned"), ("c", "failed")):
        progress.cell_started(job(label))
        clock.now += 20
        progress.cell_ended(key(label), how, [])
    assert progress.summary() == "3 of 3 cells done, 1 pruned, 1 failed; 30.0 trainings/min"


def test_live_table_shows_running_cells_with_epoch_and_accuracy(clock):
    console = screen(terminal=True)
    with Progress(2, ACCURACY, console, clock) as progress:
        progress.cell_started(job("sharing on"))
        progress.cell_advanced(key("sharing on"), 7, 0.5)
        console.print(progress.render())
    text = console.file.getvalue()
    row = next(line for line in text.splitlines() if "sharing on" in line)
    assert row.split()[2:] == ["10", "7", "of", "80", "50.0", "%"]
    assert "0 of 2 cells done; starting" in text


def test_a_run_that_time_alone_ends_counts_without_a_total(clock):
    console = screen()
    with Progress(None, ACCURACY, console, clock) as progress:
        progress.cell_started(job("sharing off"))
        clock.now += 30
        progress.cell_ended(key("sharing off"), "finished", [])
    assert progress.summary() == "1 cells done; 20.0 trainings/min"
    assert (progress.snapshot()["cells"], progress.time_left_s()) == (None, None)


def test_a_metric_has_its_unit_and_a_missing_one_is_null(clock):
    console = screen()
    with Progress(2, StoredMetric("rmse", "min", "mg/dl"), console, clock) as progress:
        for label, figure in (("a", 54.321), ("b", math.nan)):
            progress.cell_started(job(label))
            progress.cell_advanced(key(label), 3, figure)
        assert [cell["objective"] for cell in progress.snapshot()["running"]] == [54.321, None]
        for label in ("a", "b"):
            progress.cell_ended(key(label), "finished", [])
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("a: finished at epoch 3, validation rmse 54.32 mg/dl | ")
    assert second.startswith("b: finished at epoch 3 | ")
