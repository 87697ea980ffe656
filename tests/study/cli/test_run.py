"""Runs of a grid with all that a grid file may say, and of cells that fail, by the program itself."""

import json
import subprocess

import pandas as pd
import pytest
import yaml

from tests.study.cli.conftest import STUDY, clean


def run(folder, *arguments, **environment):
    command = [STUDY, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=clean(**environment), capture_output=True, text=True, timeout=300)


# A grid with all that an own one may say: conditions, skipped and explicit cells, and every setting of the protocol.
OWN = """
name: own
description: Of a test.
seeds: 2
factors:
  sharing: {role: scientific, values: [off, on]}
  dropout: {role: tuned, values: [0, 0.5]}
rules:
  - {when: {dropout: 0.5}, set: {learning_rate: 1e-2}}
skip: [{sharing: on, dropout: 0}]
cells: [{sharing: on, dropout: 0.25}]
protocol:
  {max_epochs: 4, batch_size: 20, plateau_patience: 1, plateau_factor: 0.5, stop_patience: 3,
  train_pairs: 200, test_pairs: 150, validation_share: 0.3, fixed_data: on}
stopping: {scheduler: none}
"""


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_own_grid_runs_as_it_says_and_json_quiet_and_verbose_do_theirs(tmp_path, cluster):
    (tmp_path / "own.yaml").write_text(OWN)
    protocol = yaml.safe_load(OWN)["protocol"]
    wanted = {(False, 0.0, 0.001), (False, 0.5, 0.01), (True, 0.5, 0.01), (True, 0.25, 0.001)}
    planned = json.loads(run(tmp_path, "plan", "--grid", "own.yaml", "--json").stdout)["cells"]
    assert {(c["sharing"], c["dropout"], c["learning_rate"]) for c in planned} == wanted
    assert all(protocol.items() <= cell.items() for cell in planned)

    done = run(tmp_path, "run", "--grid", "own.yaml", "--json", "--verbose", RAY_ADDRESS=cluster.address)
    assert done.returncode == 0, done.stderr
    assert "Connecting to existing Ray cluster" in done.stderr  # the quiet run below says nothing at all
    outcome = json.loads(done.stdout)
    assert (outcome["study"], outcome["trials"], outcome["missing"]) == (
        "own",
        {"finished": 8, "pruned": 0, "failed": 0},
        0,
    )
    assert "4 of 4 cells done" in done.stderr
    trials = pd.read_parquet(tmp_path / "studies" / "own" / "trials")
    assert {tuple(row) for row in trials[["sharing", "dropout", "learning_rate"]].to_numpy()} == wanted
    assert trials["epochs"].max() == 4
    # each accuracy is a count over the pairs that the protocol asks for: 150 test, 30 % of 200 validation
    for name, pairs in (("test_accuracy", 150), ("val_accuracy", 60)):
        assert (trials[name] * pairs).to_numpy() == pytest.approx((trials[name] * pairs).round().to_numpy(), abs=1e-4)

    quiet = run(tmp_path, "run", "--grid", "own.yaml", "--seeds", 3, "--quiet", RAY_ADDRESS=cluster.address)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert len(pd.read_parquet(tmp_path / "studies" / "own" / "trials")) == 12


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_failed_cells_are_told_even_when_quiet_with_what_to_do_next(tmp_path, cluster):
    (tmp_path / "nan.yaml").write_text(
        "name: nan\ndescription: Of a test.\nseeds: 2\nfactors: {learning_rate: {role: tuned, values: [1e30]}}\n"
        "protocol: {max_epochs: 2}\n"
    )
    done = run(tmp_path, "run", "--grid", "nan.yaml", RAY_ADDRESS=cluster.address)
    assert done.returncode == 1
    assert done.stderr.startswith("failed: learning_rate 1e+30: ")
    assert "1 cells failed. To retry them, run: study run --grid nan.yaml" in done.stdout
    quiet = run(tmp_path, "--quiet", "run", "--grid", "nan.yaml", RAY_ADDRESS=cluster.address)
    assert (quiet.returncode, quiet.stdout) == (1, "")
    assert quiet.stderr.startswith("failed: learning_rate 1e+30: ")
