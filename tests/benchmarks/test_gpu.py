"""The benchmark of a GPU runs where there is none, on a CPU, and without Ray."""

import subprocess
import sys

import pytest

from benchmarks.gpu import stacks_of, train_all
from study.grid.load import load_grid
from trainables.digits.mnist import load_pool

pytestmark = pytest.mark.long

GRID = """
name: tiny
description: Two stacks of two cells.
factors:
  sharing: {role: scientific, values: [off, on]}
  aux_weight: {role: tuned, values: [0, 1]}
protocol: {max_epochs: 3, train_pairs: 100, test_pairs: 50, plateau_patience: 0, stop_patience: 1}
"""
FEW = ["--rows", "2", "--processes", "1", "--some-epochs", "1"]
WITHOUT_RAY = "import sys; sys.modules['ray'] = None; import typer; from benchmarks.gpu import main; typer.run(main)"


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(GRID)
    return str(path)


def test_the_full_grid_is_two_stacks_of_sixteen_cells():
    stacks = stacks_of(load_grid("full").cells())
    assert [len(cells) for cells in stacks] == [16, 16]
    assert [{cell.sharing for cell in cells} for cells in stacks] == [{False}, {True}]


def test_it_counts_every_epoch_of_every_model(grid):
    stacks = stacks_of(load_grid(grid).cells())
    seconds, epochs = train_all(stacks, 2, load_pool("mnist5k"), "cpu")
    assert seconds > 0
    assert 2 * 4 * 2 <= epochs <= 2 * 4 * 3  # four cells of two seeds: none ends before epoch 2, none after 3


def test_it_runs_without_ray(grid):
    options = ["--grid", grid, "--device", "cpu", "--seeds", "1", "--rounds", "1", "--ordinary-epochs", "1", *FEW]
    command = [sys.executable, "-W", "error", "-c", WITHOUT_RAY, *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "4 trainings of grid" in run.stdout
    assert "extrapolated" in run.stdout
