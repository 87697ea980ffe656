import json

import pytest
import yaml

from study.grid.load import load_grid
from study.plan.jobs import study_info
from study.store.store import Store
from tests.study.conftest import build_result, record

CONTRAST = {"name": "mine over baseline", "plus": [{"aux_weight": 1}], "minus": [{"aux_weight": 0}]}
GRID = {
    **{"name": "mine", "description": "Of a test.", "seeds": 4, "contrasts": [CONTRAST]},
    "factors": {"aux_weight": {"role": "scientific", "values": [0, 1]}},
    "replicate": {"looks": [4, 8], "margin": 1.0},
    "stopping": {"scheduler": "none"},
}
NOISE = (0.001, -0.001, 0.0012, -0.0008)


@pytest.fixture
def gain(tmp_path):
    """Write a grid and its study: weight 1 has so many points more."""

    def write(points):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(GRID))
        grid = load_grid(str(tmp_path / "mine.yaml"))
        store = Store(str(tmp_path / "studies"), "mine")
        store.write_info(study_info("mine", grid, grid.cells(), range(4), None))
        for cell, share in zip(grid.cells(), (0, 1), strict=True):
            accuracies = [0.8 + share * (points / 100 + noise) for noise in NOISE]
            rows = [record(seed, 1, "completed", test_accuracy=value) for seed, value in enumerate(accuracies)]
            store.write(build_result(rows, cell))

    return write


def test_the_exit_code_says_whether_a_change_is_kept(study, gain):
    gate = ("gate", "mine", "--contrast", "mine over baseline", "--at-least")
    gain(3)
    code, out, _ = study(*gate, "0.5")
    assert (code, out.startswith("better (at least 0.5 points): mine over baseline: differs, +3.0 points")) == (0, True)
    assert study(*gate, "8")[0] == 1
    gain(0.001)
    code, out, _ = study(*gate, "0", "--json")
    assert (code, json.loads(out)["decision"]["n"]) == (3, 4)
    assert json.loads(out)["seeds_more"] == 4
    code, _, err = study("gate", "mine", "--contrast", "other", "--at-least", "1")
    assert (code, "no contrast 'other' in study mine: expected one of mine over baseline" in err) == (2, True)
    assert study(*gate, "-1")[0] == 2


def test_status_and_plan_know_the_looks(study, gain):
    gain(3)
    code, out, err = study("status", "mine")
    assert (code, "mine over baseline: differs, +3.0 points" in out) == (0, True), err
    code, out, err = study("plan", "--grid", "mine.yaml", "--detect", "0.05")
    assert code == 0, err
    assert "To find a difference of 0.05 points in 80 of 100 studies, at a level of 0.0" in out
    planned = json.loads(study("plan", "--grid", "mine.yaml", "--detect", "0.05", "--json")[1])
    assert planned["detect"]["seeds"] == planned["seeds"] > 4
    code, _, err = study("plan", "--grid", "mine.yaml", "--detect", "1", "--pilot", "other")
    assert (code, "no study 'other'" in err) == (2, True)


def test_a_run_until_decided_needs_looks(study, gain, tmp_path):
    gain(3)
    code, _, err = study("run", "--grid", "mine.yaml", "--until-decided", "--seeds", "8")
    assert (code, "--seeds 8: with --until-decided the grid names the seeds" in err) == (2, True)
    code, _, err = study("run", "--grid", "smoke", "--until-decided")
    assert (code, "--until-decided: the grid smoke does not say when" in err) == (2, True)
    # All is decided, so nothing is trained and no Ray starts.
    code, out, err = study("run", "--grid", "mine.yaml", "--until-decided")
    assert (code, "nothing to train" in out, "mine over baseline: differs" in out) == (0, True, True), err
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(GRID | {"replicate": {"looks": [4, 5], "margin": 1.0}}))
    code, _, err = study("run", "--grid", "mine.yaml", "--until-decided")
    assert (code, "a rule that changes after results errs more often" in err) == (2, True)
