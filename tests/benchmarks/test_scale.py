"""The benchmark of large studies, on small ones."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages")]


def test_studies_of_each_size_are_run_and_counted():
    command = [sys.executable, "-m", "benchmarks.scale", "--cells", "3", "--cells", "5"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[-2:]]
    # Two Parquet parts a cell; what a study has once, such as study.json, does not grow.
    sizes = [(float(cells), float(files)) for cells, _, _, _, files, *_ in rows]
    assert [cells for cells, _ in sizes] == [3, 5]
    assert sizes[1][1] - sizes[0][1] == 2 * (5 - 3)
