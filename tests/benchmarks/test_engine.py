"""The benchmark of the engine trains in every way. Tests do not assert what it measures."""

import os
import re
import subprocess
import sys

import pytest

from benchmarks.engine import STACKS

pytestmark = pytest.mark.long


def test_every_way_is_measured_against_the_plain_module():
    command = [sys.executable, "-m", "benchmarks.engine", "--rounds", "3", "--no-sharing", "--dropout", "0"]
    wide = os.environ | {"COLUMNS": "200"}  # on a slow machine the numbers have more digits than 80 columns hold
    done = subprocess.run(command, env=wide, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    number = r"(\d+\.\d\d)"
    rows = re.findall(
        rf"│ (\S.*?) +│ +{number} +│ {number} to {number} +│ {number} +│ {number} to {number} +│", done.stdout
    )
    assert rows[0][0] == "plain module"
    assert rows[0][4:] == ("1.00", "1.00", "1.00")
    assert len(rows) == 3 + len(STACKS)
    assert all(0 < float(low) <= float(middle) <= float(high) for _, middle, low, high, *_ in rows)
    assert "n = 3 rounds, sharing False, dropout 0, torch" in done.stdout
