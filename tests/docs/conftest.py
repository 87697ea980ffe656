"""A Ray for the commands of a page."""

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import started_ray


@pytest.fixture(scope="module")
def environment():
    """What a shell in an activated environment has, with a Ray to join, so that it starts once."""
    with started_ray(2) as cluster:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
        yield kept | {
            "RAY_ADDRESS": cluster.address,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "120",
        }
