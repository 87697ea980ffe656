"""A Ray for the commands of a page."""

import os
import sys
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster


@pytest.fixture(scope="module")
def environment():
    """What a shell in an activated environment has, with a Ray to join, so that it starts once."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
    yield kept | {
        "RAY_ADDRESS": cluster.address,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    ray.shutdown()
    cluster.shutdown()
