"""cluster.onprem.yaml brought up for real, by ``ray up`` over SSH, on hosts that are namespaces of this machine."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from study.grid.load import load_grid
from tests.cluster.hosts import HOME, NFS, Lab, missing_tools
from tests.study.driver.test_runs import LONG, WEIGHTS, assert_store_is_as_trained_directly, write_grid

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("ray")]

PROJECT = Path(__file__).parents[2]
CONFIG = f"{NFS}/cluster.yaml"  # on the laptop
STORAGE = f"{NFS}/studies"  # as the shipped file has it
CODE = "~/digit-comparator-study"
VENV = f"ln -sfn {sys.prefix} ~/study-venv"  # the venv that is here: the hosts reach no package index
IMPORT = f"grep -qs PYTHONPATH ~/.bashrc || echo export PYTHONPATH={CODE} >> ~/.bashrc"  # not what that venv points at
LOOK = """
import json, os, socket, ray, study
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.state import list_actors
ray.init(log_to_driver=False)
nodes = {node["NodeID"]: node["Alive"] for node in ray.nodes()}
look = ray.remote(num_cpus=0)(lambda: [socket.gethostname(), study.__file__, os.getcwd()])
on = lambda node: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
seen = ray.get([on(node).remote() for node in nodes if nodes[node]])
cells = {actor.node_id for actor in list_actors(limit=1000) if "Trainable" in actor.class_name}
print("LOOK", json.dumps({"nodes": seen, "hosts of cells": len(cells)}))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A laptop, a head and two workers, with a folder that all of them mount."""
    if missing := missing_tools():
        pytest.skip(f"hosts cannot be made here without {', '.join(missing)}")
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        lab.add("laptop", keep=[PROJECT])
        for name in ("head", "one", "two"):
            lab.add(name)
        (lab.nfs / "look.py").write_text(LOOK)
        ray(lab, "get-auth-token", "--generate")
        yield lab


@pytest.fixture
def lab(made):
    """The lab without a study; the tests go on with the cluster of those before them."""
    shutil.rmtree(made.nfs / "studies", ignore_errors=True)
    return made


def for_this_lab(lab, workers):
    """The shipped cluster file, with what a user edits edited, and without an installation from a package index."""
    shipped = yaml.safe_load((PROJECT / "cluster.onprem.yaml").read_text())
    addresses = {"head_ip": lab.hosts["head"].address, "worker_ips": [lab.hosts[name].address for name in workers]}
    config = shipped | {
        "provider": shipped["provider"] | addresses,
        "auth": {"ssh_user": "root", "ssh_private_key": "/run/lab/key"},
        "setup_commands": [VENV, IMPORT, *shipped["setup_commands"][2:]],
    }
    assert {key for key in config if config[key] != shipped[key]} == {"provider", "auth", "setup_commands"}
    assert all("pip" in command for command in shipped["setup_commands"][:2])
    assert f"STUDY_STORAGE={STORAGE} " in shipped["setup_commands"][2]
    return config


def ray(lab, command, *arguments):
    """Run a command of the cluster launcher on the laptop."""
    run = lab.hosts["laptop"].run("ray", command, *arguments, cwd=PROJECT)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def look(lab):
    """What a task on each living node sees, and on how many hosts cells were trained."""
    text = ray(lab, "exec", "--no-config-cache", CONFIG, f"python {NFS}/look.py")
    return json.loads(text.split("LOOK ")[1].splitlines()[0])


def wait_for(what, value, timeout_s):
    """Wait until a function returns a value."""
    deadline = time.monotonic() + timeout_s
    while (seen := what()) != value:
        assert time.monotonic() < deadline, seen
        time.sleep(1)


def up(lab, *workers):
    """Bring a head and workers up; return when all of them are there."""
    (lab.nfs / "cluster.yaml").write_text(yaml.safe_dump(for_this_lab(lab, workers)))
    ray(lab, "up", "-y", "--no-config-cache", CONFIG)
    wait_for(lambda: sorted(name for name, *_ in look(lab)["nodes"]), ["head", *workers], 120)


def test_up_run_and_submit(lab):
    grid = write_grid(lab.nfs, {"aux_weight": {"role": "tuned", "values": [0, 1, 10, 100]}}, max_epochs=10)
    up(lab, "one")
    up(lab, "one", "two")  # a machine is added
    for name, code, cwd in look(lab)["nodes"]:
        assert code == f"{HOME}/digit-comparator-study/study/__init__.py", name
        assert cwd != str(PROJECT)
    stranger = lab.hosts["laptop"].run("ray", "status", "--address", f"{lab.hosts['head'].address}:6379")
    assert "InvalidAuthToken" in stranger.stderr  # without RAY_AUTH_MODE=token
    command = f"run --grid {NFS}/own.yaml"
    assert "8 trials of 4 cells to train" in ray(lab, "exec", CONFIG, f"study {command}")
    assert_store_is_as_trained_directly(lab.nfs / "studies" / "own", load_grid(grid).cells(), range(2))
    assert look(lab)["hosts of cells"] > 1
    again = ray(lab, "submit", CONFIG, "study/__main__.py", "--", *command.split())
    assert "nothing to train" in again
    status = lab.hosts["laptop"].run("study", "status", "own", "--storage", STORAGE)
    assert "own: 8 trials: 8 finished" in status.stdout
    # Cells so long that the head cannot have trained them all before another host is ready:
    write_grid(lab.nfs, {"aux_weight": {"role": "tuned", "values": WEIGHTS}}, **LONG)
    apart = lab.hosts["head"].run("bash", "-c", f". ~/.bashrc; study {command} --storage /tmp/apart")
    assert apart.returncode == 2, apart.stdout + apart.stderr
    assert re.search(
        r"study: .*the node (one|two) does not see /tmp/apart/own/scratch/shared, .*--storage", apart.stderr
    )
    assert "Traceback" not in apart.stderr


@pytest.mark.parametrize(("seconds", "lost"), [(8, False), (60, True)])
def test_a_worker_cut_off_by_the_network_and_back(lab, seconds, lost):
    grid = write_grid(lab.nfs, {"aux_weight": {"role": "tuned", "values": WEIGHTS}}, **LONG)
    if not (lab.nfs / "cluster.yaml").exists():
        up(lab, "one", "two")
    command = lab.hosts["head"].command("bash", "-c", f". ~/.bashrc; exec study run --grid {NFS}/own.yaml")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    victim = lab.hosts["one"]
    with subprocess.Popen(command, **pipes) as driver:
        try:
            training = lambda: any("Trainable.train" in line for line in victim.processes())  # noqa: E731
            wait_for(training, True, 120)
            time.sleep(10)  # beyond a checkpoint
            lab.link(victim, "down")
            time.sleep(seconds)
            lab.link(victim, "up")
            text = driver.communicate(timeout=400)[0]
        finally:
            driver.kill()
    assert driver.returncode == 0, text
    assert "Traceback" not in text
    assert ("it continues from its last checkpoint" in text) == lost, text
    assert_store_is_as_trained_directly(lab.nfs / "studies" / "own", load_grid(grid).cells(), range(2))
    wait_for(lambda: len(look(lab)["nodes"]), 3, 180)  # the autoscaler starts Ray there again


def test_down(lab):
    if not (lab.nfs / "cluster.yaml").exists():
        up(lab, "one", "two")
    ray(lab, "down", "-y", CONFIG)
    for host in lab.hosts.values():
        # Ray's agents take a minute or two to end.
        wait_for(lambda host=host: [line for line in host.processes() if not line.startswith("sshd: ")], [], 240)
