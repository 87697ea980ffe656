"""The Kubernetes manifest of docs/cluster.md, by the code with which Ray's autoscaler reads one in a cluster."""

import re
from importlib import metadata
from pathlib import Path

import yaml
from ray.autoscaler._private.kuberay import autoscaling_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "cluster.md").read_text()
MANIFEST = yaml.safe_load(re.search(r"```yaml\n(apiVersion: ray.io.*?)```", TEXT, re.DOTALL)[1])


def test_it_names_the_ray_that_the_constraints_pin():
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert pinned == metadata.version("ray") == MANIFEST["spec"]["rayClusterSpec"]["rayVersion"]
    assert re.search(r"^FROM rayproject/ray:(.*)$", TEXT, re.MULTILINE)[1] == f"{pinned}-py311-gpu"


def test_rays_autoscaler_finds_nodes_that_have_room_for_a_cell():
    cluster = {"metadata": {"name": "study-full", "namespace": "lab"}, "spec": MANIFEST["spec"]["rayClusterSpec"]}
    config = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)
    head, worker = (config["available_node_types"][name] for name in (config["head_node_type"], "gpu"))
    assert head["resources"] == {"CPU": 0, "memory": 8 * 2**30}
    assert worker["resources"] == {"CPU": 4, "GPU": 1, "memory": 16 * 2**30}
    assert (worker["min_workers"], worker["max_workers"]) == (0, 4)


def test_every_node_knows_the_storage_and_the_cluster():
    spec = MANIFEST["spec"]["rayClusterSpec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        names = {variable["name"] for variable in container["env"]}
        assert names >= {"STUDY_STORAGE", "RAY_ADDRESS", "STUDY_GPUS_PER_TRIAL", "RAY_USAGE_STATS_ENABLED"}
