from types import SimpleNamespace

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler

from study.grid import Grid
from study.planning import Job
from study.stopping import StratifiedASHA

GRID = Grid.model_validate(
    {
        "name": "made",
        "description": "Two strata of four weights.",
        "factors": {
            "sharing": {"role": "scientific", "values": [False, True]},
            "aux_weight": {"role": "tuned", "values": [0, 1, 3, 10]},
        },
        "stopping": {"grace_period": 2, "reduction_factor": 2, "protect": [{"aux_weight": 0}]},
    }
)
CELLS = {(cell.sharing, cell.aux_weight): cell for cell in GRID.cells()}


class Race:
    """Feeds results to the scheduler as Tune does; a cell is named by (sharing, aux_weight)."""

    def __init__(self, partial=()):
        jobs = [Job(cell, (0, 1), whole=name not in partial) for name, cell in CELLS.items()]
        self.asha = StratifiedASHA(GRID, jobs)
        self.trials = {
            name: SimpleNamespace(trial_id=str(name), config={"cell": cell.model_dump()})
            for name, cell in CELLS.items()
        }
        for trial in self.trials.values():
            self.asha.on_trial_add(None, trial)

    def report(self, sharing, weight, epoch, accuracy):
        result = {"epoch": epoch, "val_accuracy": accuracy}
        return self.asha.on_trial_result(None, self.trials[sharing, weight], result)


def test_the_worse_cell_of_a_stratum_is_stopped_at_a_rung():
    race = Race()
    assert race.report(False, 1, 2, 0.8) == "CONTINUE"
    assert race.report(False, 3, 1, 0.1) == "CONTINUE"  # the grace period is two epochs
    assert race.report(False, 3, 2, 0.7) == "STOP"
    assert race.report(False, 10, 2, 0.9) == "CONTINUE"


def test_strata_do_not_compete():
    race = Race()
    race.report(True, 1, 2, 0.99)
    assert race.report(False, 3, 2, 0.2) == "CONTINUE"


def test_protected_cells_are_neither_stopped_nor_a_bar():
    race = Race()
    assert race.report(False, 0, 2, 0.9) == "CONTINUE"
    assert race.report(False, 1, 2, 0.5) == "CONTINUE"  # below 0.9, which is no bar
    assert race.report(False, 0, 4, 0.1) == "CONTINUE"
    assert race.report(False, 3, 2, 0.49) == "STOP"


def test_a_remembered_protected_cell_is_no_bar():
    race = Race()
    race.asha.remember(CELLS[False, 0], {2: 0.9})
    assert race.report(False, 1, 2, 0.5) == "CONTINUE"


def test_a_job_that_only_adds_seeds_takes_no_part():
    race = Race(partial={(False, 1)})
    assert race.report(False, 3, 2, 0.5) == "CONTINUE"
    assert race.report(False, 1, 2, 0.1) == "CONTINUE"
    assert race.report(False, 10, 2, 0.4) == "STOP"  # the bar is 0.5: the 0.1 did not lower it


@pytest.mark.parametrize("curve", [{1: 0.1, 2: 0.8, 3: 0.85}, {2: 0.8}])
def test_a_remembered_cell_competes_like_one_that_runs(curve):
    live, resumed = Race(), Race()
    live.report(False, 1, 2, 0.8)
    resumed.asha.remember(CELLS[False, 1], curve)
    for weight, accuracy in ((3, 0.7), (10, 0.9)):
        assert live.report(False, weight, 2, accuracy) == resumed.report(False, weight, 2, accuracy)


def test_inside_a_stratum_it_is_rays_asha():
    race = Race()
    bare = AsyncHyperBandScheduler("epoch", "val_accuracy", "max", max_t=80, grace_period=2, reduction_factor=2)
    starts = {10: 0.3, 3: 0.5, 1: 0.6}
    slopes = {10: 0.05, 3: 0.04, 1: 0.0}
    trials = {weight: SimpleNamespace(trial_id=str(weight)) for weight in starts}
    for trial in trials.values():
        bare.on_trial_add(None, trial)
    stopped = {}
    for epoch in range(1, 9):
        for weight, trial in trials.items():
            if weight in stopped:
                continue
            accuracy = starts[weight] + slopes[weight] * epoch
            expected = bare.on_trial_result(None, trial, {"epoch": epoch, "val_accuracy": accuracy})
            assert race.report(True, weight, epoch, accuracy) == expected
            if expected == "STOP":
                stopped[weight] = epoch
    # At epoch 2 its 0.6 is above the median of 0.4 and 0.58; at 8 below that of 0.7 and 0.82.
    assert stopped == {1: 8}


def test_end_and_removal_of_cells_are_passed_on():
    race = Race(partial={(True, 3)})
    for name in ((False, 1), (True, 3)):
        race.asha.on_trial_complete(None, race.trials[name], {"epoch": 2, "val_accuracy": 0.8})
    race.asha.on_trial_remove(None, race.trials[False, 10])
    assert race.report(False, 3, 2, 0.7) == "STOP"
    assert "(False,)" in race.asha.debug_string()
