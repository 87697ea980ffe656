"""What the commands of a page find."""

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def environment(one_core):
    """The variables of a shell in an activated environment, with a Ray to join."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    return kept | {
        "RAY_ADDRESS": one_core.address,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "120",
    }
