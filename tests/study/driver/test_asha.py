import math
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler

from study.driver.asha import StratifiedASHA
from study.grid.grid import Grid
from study.plan.earlier_cells import EarlyStopping
from study.plan.jobs import plan_job

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


def report_of(name, epoch, accuracy, ended=False):
    return {"cell_id": CELLS[name].cell_id, "epoch": epoch, "objective": accuracy, "ended": ended}


def job_of(name, whole=True):
    return plan_job(GRID, CELLS[name], (0, 1), whole)


class Race:
    """Feeds results to the scheduler as Tune does; a cell is named by (sharing, aux_weight)."""

    def __init__(self, partial=(), remembered=None, goal="max"):
        jobs = [job_of(name, name not in partial) for name in CELLS]
        ended = tuple((job_of(name), curve) for name, curve in (remembered or {}).items())
        self.told = {}
        self.asha = StratifiedASHA(EarlyStopping(2, 2, goal, ended), jobs, self.told.__setitem__)
        self.trials = {name: self.add(name) for name in CELLS}

    def add(self, *names):
        """Add a Tune trial of these cells."""
        cells = [{"cell": CELLS[name].model_dump(), "seeds": [0, 1]} for name in names]
        trial = SimpleNamespace(config={"cells": cells})
        self.asha.on_trial_add(None, trial)
        return trial

    def report(self, sharing, weight, epoch, accuracy):
        result = {"cells": [report_of((sharing, weight), epoch, accuracy)]}
        return self.asha.on_trial_result(None, self.trials[sharing, weight], result)


def test_the_worse_cell_of_a_stratum_is_stopped_at_a_rung():
    race = Race()
    assert race.report(False, 1, 2, 0.8) == "CONTINUE"
    assert race.report(False, 3, 1, 0.1) == "CONTINUE"  # the grace period is two epochs
    assert race.report(False, 3, 2, 0.7) == "STOP"
    assert race.report(False, 10, 2, 0.9) == "CONTINUE"


def test_with_a_min_goal_the_larger_is_stopped_and_a_cell_without_a_figure_is_not_judged():
    race = Race(remembered={(True, 1): {2: 0.3}}, goal="min")
    assert race.report(False, 1, 2, math.nan) == "CONTINUE"
    assert race.report(False, 3, 2, 0.7) == "CONTINUE"  # the first that counts
    assert race.report(False, 10, 2, 0.8) == "STOP"
    assert race.report(False, 1, 3, 0.9) == "STOP"  # at the first figure after the rung
    assert (race.report(True, 3, 2, 0.2), race.report(True, 10, 2, 0.4)) == ("CONTINUE", "STOP")


def test_a_cell_that_may_train_longer_than_its_rivals_is_not_stopped_at_their_last_epoch():
    short, long = (plan_job(GRID, CELLS[False, 1].model_copy(update={"max_epochs": most}), (0,)) for most in (4, 80))
    asha = StratifiedASHA(EarlyStopping(2, 2, max_epochs=80), [short, long])
    for job in (short, long):
        trial = SimpleNamespace(config={"cells": [{"cell": job.cell.model_dump(), "seeds": [0]}]})
        asha.on_trial_add(None, trial)
        report = {"cell_id": job.cell.cell_id, "epoch": 4, "objective": 0.5, "ended": job is short}
        assert asha.on_trial_result(None, trial, {"cells": [report]}) == ("STOP" if job is short else "CONTINUE")


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
    race = Race(remembered={(False, 0): {2: 0.9}})
    assert race.report(False, 1, 2, 0.5) == "CONTINUE"


def test_a_job_that_only_adds_seeds_takes_no_part():
    race = Race(partial={(False, 1)})
    assert race.report(False, 3, 2, 0.5) == "CONTINUE"
    assert race.report(False, 1, 2, 0.1) == "CONTINUE"
    assert race.report(False, 10, 2, 0.4) == "STOP"  # the bar is 0.5: the 0.1 did not lower it


@pytest.mark.parametrize("curve", [{1: 0.1, 2: 0.8, 3: 0.85}, {2: 0.8}])
def test_a_remembered_cell_competes_like_one_that_runs(curve):
    live, resumed = Race(), Race(remembered={(False, 1): curve})
    live.report(False, 1, 2, 0.8)
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


def test_the_end_of_cells_is_passed_on():
    race = Race(partial={(True, 3)})
    for name in ((False, 1), (True, 3)):
        result = {"cells": [report_of(name, 2, 0.8, ended=True)]}
        race.asha.on_trial_complete(None, race.trials[name], result)
    assert race.report(False, 3, 2, 0.7) == "STOP"


# Packs. An epoch of a pack is one result of all its cells that still train.

CURVES = {  # accuracy at epochs 1 to 4: with rungs at 2 and 4, some fall behind at either, some end early
    (False, 0): [0.1, 0.1, 0.1, 0.1],
    (False, 1): [0.5, 0.6, 0.6, 0.9],
    (False, 3): [0.5, 0.7, 0.7],
    (False, 10): [0.5, 0.5, 0.9, 0.9],
    (True, 1): [0.5, 0.9, 0.9, 0.5],
    (True, 3): [0.5, 0.3, 0.9, 0.9],
    (True, 10): [0.5, 0.95, 0.9, 0.8],
}


def raced(packs):
    """Let packs report epoch by epoch, so that all cells report in the same order in any packing."""
    told = {}
    asha = StratifiedASHA(EarlyStopping(2, 2), map(job_of, CURVES), told.__setitem__)
    trials = [
        SimpleNamespace(config={"cells": [{"cell": CELLS[name].model_dump()} for name in pack]}) for pack in packs
    ]
    for trial in trials:
        asha.on_trial_add(None, trial)
    stopped = set()
    for epoch in range(1, 5):
        for pack, trial in zip(packs, trials, strict=True):
            training = [name for name in pack if len(CURVES[name]) >= epoch and CELLS[name].cell_id not in asha.pruned]
            if not training:
                continue
            reports = [report_of(name, epoch, CURVES[name][epoch - 1], epoch == len(CURVES[name])) for name in training]
            if all(report["ended"] for report in reports):
                asha.on_trial_complete(None, trial, {"cells": reports})
            elif asha.on_trial_result(None, trial, {"cells": reports}) == asha.STOP:
                asha.on_trial_complete(None, trial, {"cells": reports})
                stopped.add(pack)
    names = {cell.cell_id: name for name, cell in CELLS.items()}
    return {names[cell_id]: epoch for cell_id, epoch in asha.pruned.items()}, stopped, {names[c] for c in told}


@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_what_is_pruned_does_not_depend_on_the_packing(size):
    alone, stopped, told = raced([(name,) for name in CURVES])
    # At epoch 2 the weights 10 (0.5 against 0.6 and 0.7) and 3 (0.3 against 0.9); none reaches epoch 4 unended.
    assert alone == {(False, 10): 2, (True, 3): 2}
    assert (stopped, told) == ({((False, 10),), ((True, 3),)}, set())
    names = list(CURVES)
    packs = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    packed, stopped, told = raced(packs)
    assert packed == alone
    assert (stopped, told) == (set(), set(alone))  # inside packs that go on


def test_a_pack_is_stopped_with_the_last_of_its_cells():
    race = Race()
    race.report(False, 1, 2, 0.8)
    pack = race.add((False, 3), (False, 10))
    first = [report_of((False, 3), 2, 0.1), report_of((False, 10), 2, 0.9)]
    assert race.asha.on_trial_result(None, pack, {"cells": first}) == "CONTINUE"
    assert race.told == {CELLS[False, 3].cell_id: 2}
    again = [report_of((False, 3), 2, 0.1), report_of((False, 10), 2, 0.9)]  # set back to a checkpoint
    assert race.asha.on_trial_result(None, pack, {"cells": again}) == "CONTINUE"
    race.report(False, 1, 4, 0.9)
    assert race.asha.on_trial_result(None, pack, {"cells": [report_of((False, 10), 4, 0.5)]}) == "STOP"
    assert race.asha.pruned == {CELLS[False, 3].cell_id: 2, CELLS[False, 10].cell_id: 4}
