from dataclasses import replace

import numpy as np
import pytest

from analysis.comparison.gate import judge
from analysis.load import StudyData
from analysis.statistics.looks import Replication, decide
from analysis.statistics.standings import describe_standing, standings, standings_sheet
from analysis.stored import AnalysisError
from tests.analysis.conftest import StoreBuilder, with_info

NOISE = np.random.default_rng(3).normal(0, 0.01, (3, 12)).round(4)
PLAN = {"looks": [4, 8, 12], "margin": 2.0, "alpha": 0.05}
CONTRASTS = [
    {"name": name, "plus": [{"aux_weight": weight}], "minus": [{"aux_weight": 0}]}
    for name, weight in (("far", 1), ("near", 3))
]


def study(store: StoreBuilder, seeds: tuple[int, int, int], **changes: object) -> StudyData:
    """Cells of weight 0, 1 (30 points more) and 3 (half a point more), with so many seeds."""
    store.seeds = 4
    for weight, gain, values, n in zip((0, 1, 3), (0, 0.3, 0.005), NOISE, seeds, strict=True):
        store.cell(list(0.5 + gain + values[:n]), aux_weight=weight)
    further = {cell["cell_id"]: list(range(4, n)) for cell, n in zip(store.cells, seeds, strict=True) if n > 4}
    data = with_info(store.load(), contrasts=CONTRASTS, replicate=PLAN, further_seeds=further)
    return with_info(data, **changes) if changes else data


def test_standings_are_the_decisions_by_the_seeds_of_both_cells(store: StoreBuilder) -> None:
    data = study(store, (8, 4, 8))
    far, near = standings(data)
    expected = decide(
        [0.3 + (NOISE[1] - NOISE[0])[:4], 0.005 + (NOISE[2] - NOISE[0])[:8]], Replication((4, 8, 12), 0.02)
    )
    for found, decision in zip((far, near), expected, strict=True):
        assert (found.decision.verdict, found.decision.n) == (decision.verdict, decision.n)
        assert (found.decision.mean, found.decision.p) == pytest.approx((decision.mean, decision.p))
    assert (far.decision.verdict, near.decision.verdict, near.decision.next_look) == ("differs", "undecided", 12)
    assert (far.held, far.cells) == ("", ("cell01", "cell00"))
    assert describe_standing(near, data.info.goal).endswith("n = 8; next look at 12 seeds, 4 to come")
    sheet = standings_sheet(data, [far, near])
    assert [row["verdict"] for row in sheet.rows] == ["differs", "undecided"]
    assert "margin of 2.0 points" in sheet.caption


def test_a_seed_without_a_result_holds_back_what_follows(store: StoreBuilder) -> None:
    data = study(store, (8, 4, 8))
    trials = data.trials.copy()
    trials.loc[(trials["cell_id"] == "cell02") & (trials["seed"] == 6), "status"] = "failed"
    _, near = standings(replace(data, trials=trials))
    assert (near.decision.n, len(near.differences)) == (4, 6)
    assert near.held == "seed 6 of one of its cells has no result yet"
    trials.loc[(trials["cell_id"] == "cell02") & (trials["seed"] == 6), ["status", "test_accuracy"]] = [
        "completed",
        0.1,
    ]
    _, near = standings(replace(data, trials=trials))
    assert (near.decision.n, near.held) == (4, "seed 6 of one of its cells has collapsed")


def test_a_condition_of_many_stands_for_the_cell_that_the_first_look_chose(store: StoreBuilder) -> None:
    contrast = {"name": "any", "plus": [{"sharing": False}], "minus": [{"aux_weight": 0}]}
    # Later seeds are worse, which is no reason to choose another cell.
    store.seeds = 2
    store.cell([0.5] * 2, aux_weight=0)
    store.cell([0.8, 0.8, 0.1, 0.1], aux_weight=1)
    data = with_info(
        store.load(), contrasts=[contrast], replicate=PLAN | {"looks": [2, 4]}, further_seeds={"cell01": [2, 3]}
    )
    (found,) = standings(data)
    assert found.cells == ("cell01", "cell00")


def test_the_gate(store: StoreBuilder) -> None:
    data = study(store, (8, 4, 8))
    assert [judge(data, "far", wanted).code for wanted in (0.5, 29, 50)] == [0, 0, 1]
    near = judge(data, "near", 0.5)
    assert (near.code, near.seeds_more) == (3, 4)
    assert judge(data, "near", 10).code == 1  # an improvement of 10 points is ruled out
    worse = [{"name": "worse", "plus": [{"aux_weight": 0}], "minus": [{"aux_weight": 1}]}]
    assert judge(with_info(data, contrasts=worse), "worse", 0.5).code == 1
    # Without looks, one look is taken at all seeds; a plan says how many more.
    fixed = with_info(data, replicate=None, further_seeds={})
    assert judge(fixed, "far", 0.5).code == 0
    undecided = judge(fixed, "near", 0.5)
    assert undecided.code == 3
    assert (undecided.seeds_more or 0) > 20
    with pytest.raises(AnalysisError, match=r"no contrast 'fra' in study abc: expected one of far, near"):
        judge(data, "fra", 0.5)
