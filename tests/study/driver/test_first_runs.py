"""Two real runs that say whether the program works here; make test-all has many more, in test_runs.py and others."""

import pandas as pd
import pytest

from study.grid.load import load_grid
from tests.study.driver.test_runs import (
    WEIGHTS,
    assert_store_is_as_trained_directly,
    study,
    wait_for_line,
    write_grid,
)

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_smoke_on_this_machine_alone(tmp_path, cluster):
    """Run with a Ray of its own, run again, look, grow by a seed on a cluster, analyse: the whole way of a user."""
    first = study("run", "--grid", "smoke", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert "8 trials of 4 cells to train" in first.stdout
    assert "4 of 4 cells done" in first.stdout
    assert "Search algorithm" not in first.stdout  # Tune's own chatter
    folder = tmp_path / "studies" / "smoke"
    assert_store_is_as_trained_directly(folder, load_grid("smoke").cells(), range(2))
    assert set(pd.read_parquet(folder / "trials")["status"]) == {"completed"}
    assert not (folder / "scratch").exists()

    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    again = study("run", "--grid", "smoke", cwd=tmp_path)
    assert (again.returncode, "nothing to train" in again.stdout) == (0, True)
    assert before == {path: path.read_bytes() for path in folder.rglob("*.parquet")}

    planned = study("plan", "--grid", "smoke", "--seeds", 3, cwd=tmp_path)
    assert "in the store: 8 completed; 4 trials of 4 cells to train" in planned.stdout
    grown = study("run", "--grid", "smoke", "--seeds", 3, cwd=tmp_path, address=cluster.address)
    assert "in the store: 8 completed; 4 trials of 4 cells to train" in grown.stdout
    assert len(pd.read_parquet(folder / "trials")) == 12
    assert before.items() <= {path: path.read_bytes() for path in folder.rglob("*.parquet")}.items()

    listed = study("list", cwd=tmp_path).stdout.splitlines()[-1].split()
    assert listed == ["smoke", "smoke", "4", "12", "0", "0", "0"]
    analyzed = study("analyze", cwd=tmp_path)
    assert analyzed.returncode == 0, analyzed.stderr
    assert {path.name for path in (tmp_path / "reports" / "smoke").iterdir()} >= {
        "table1.md",
        "table1.csv",
        "table1.tex",
        "figure2.svg",
        "figure2.png",
        "figure3.svg",
        "figure3.png",
    }


def test_driver_killed_in_mid_run_loses_only_cells_in_flight(tmp_path, cluster, start):
    grid = write_grid(tmp_path, {"aux_weight": {"role": "tuned", "values": WEIGHTS}}, max_epochs=12)
    process = start("run", "--grid", grid, "--storage", tmp_path, address=cluster.address)
    wait_for_line(process, "1 of 6 cells done")
    process.kill()
    process.wait()
    folder = tmp_path / "own"
    kept = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    assert 2 <= len(pd.read_parquet(folder / "trials")) < 12

    again = study("run", "--grid", grid, "--storage", tmp_path, address=cluster.address)
    assert again.returncode == 0, again.stderr
    assert kept.items() <= {path: path.read_bytes() for path in folder.rglob("*.parquet")}.items()
    assert_store_is_as_trained_directly(folder, load_grid(grid).cells(), range(2))
