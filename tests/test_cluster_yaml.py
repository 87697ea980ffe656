"""cluster.yaml by Ray's own checks, and `ray up`, `exec` and `down` for real, against an AWS that moto simulates.

moto serves AWS on loopback. An ssh and an rsync that only write down what they are asked stand before the real ones, so
that nothing leaves this machine and the commands run to their end.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import boto3
import moto.settings
import pytest
import yaml
from click import ClickException
from moto.server import ThreadedMotoServer
from ray.autoscaler._private.autoscaler import StandardAutoscaler
from ray.autoscaler._private.aws import utils as ray_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.load_metrics import LoadMetrics
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.resource_demand_scheduler import ResourceDemandScheduler
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.v2.instance_manager.node_provider import LaunchNodeError
from ray.autoscaler.v2.instance_manager.reconciler import Reconciler
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
from ray.core.generated.common_pb2 import Bundle, PlacementStrategy
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.core.generated.instance_manager_pb2 import Instance

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("aws"),  # one simulated AWS for all of them
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's opened cluster files, moto's sockets
]

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()
DOCUMENTS = (ROOT / "cluster.iam.json").read_text()
PLACEHOLDER = "sg-00000000000000000"
NAME, REGION, BUCKET, ADDRESS = "digit-comparator-study", "us-west-2", "our-bucket", "203.0.113.7/32"
CELL = {"CPU": 1, "GPU": 0.25}
SCORER = "RAY_AUTOSCALER_UTILIZATION_SCORER"
REMOTE = """
import json, pathlib, shutil, sys
log = pathlib.Path(__file__).with_name("log")
asked = " ".join(sys.argv[1:])
ran = "docker run" in log.read_text() if log.exists() else False
with log.open("a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
for known, answer in {
    "command -v docker": "/usr/bin/docker",
    "State.Running": str(ran).lower(),
    "printenv HOME": "/home/ray",
    ".Config.Env": '["HOME=/home/ray"]',
    "/proc/meminfo": "MemAvailable: 15000000 kB",
}.items():
    if known in asked:
        print(answer)
if "ray-bootstrap-" in sys.argv[-2]:
    shutil.copy(sys.argv[-2], log.with_name("bootstrap.json"))
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    """An account in which the documentation's script has run; the project's folder with the three edits."""
    folder = tmp_path_factory.mktemp("aws")
    project, programs = folder / "project", folder / "bin"
    for made in (project, programs, folder / "home", folder / "tmp"):
        made.mkdir()
    (project / "cluster.yaml").write_text(TEXT.replace("CHANGE-ME", BUCKET))
    (project / "cluster.iam.json").write_text(DOCUMENTS.replace("CHANGE-ME", BUCKET))
    shutil.copy(ROOT / "constraints.txt", project)
    (project / "study").mkdir()
    (project / "study" / "__main__.py").touch()
    for name in ("ssh", "rsync"):
        (programs / name).write_text(f"#!{sys.executable}\n{REMOTE}")
        (programs / name).chmod(0o755)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    environment = {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "RAY_"))]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        forget_clients()
        printed = io.StringIO()
        with contextlib.chdir(project), contextlib.redirect_stdout(printed):
            exec(compile(documented_script(), "docs", "exec"), {})
        group = printed.getvalue().strip()
        (project / "cluster.yaml").write_text(TEXT.replace("CHANGE-ME", BUCKET).replace(PLACEHOLDER, group))
        try:
            yield SimpleNamespace(
                project=project,
                programs=programs,
                group=group,
                ec2=boto3.client("ec2", REGION),
                iam=boto3.client("iam", REGION),
                s3=boto3.client("s3", REGION),
            )
        finally:
            server.stop()
    forget_clients()


@pytest.fixture(scope="module")
def story(aws):
    """`ray up` and `ray exec` as the launcher, what the autoscaler on the head would start, and `ray down`."""
    ray_command(aws, "launcher", "up", "-y", "--no-config-cache", "cluster.yaml")
    up = requests(aws)
    head = instances(aws)
    ray_command(aws, "launcher", "exec", "--no-config-cache", "--tmux", "cluster.yaml", "study run --grid full")
    ray_command(aws, "launcher", "submit", "cluster.yaml", "study/__main__.py", "--", "run", "--grid", "full")
    executed = requests(aws)[len(up) :]
    ray_command(aws, "launcher", "attach", "--no-config-cache", "--tmux", "cluster.yaml")
    ray_command(aws, "launcher", "monitor", "cluster.yaml")
    ray_command(aws, "launcher", "dashboard", "--no-config-cache", "cluster.yaml")
    watched = requests(aws)[len(up) + len(executed) :]
    config = json.loads((aws.programs / "bootstrap.json").read_text())
    config["auth"]["ssh_private_key"] = str(next(Path(os.environ["HOME"]).rglob("*.pem")))
    counts = autoscale(aws, config)
    workers = {tags(i)["ray-user-node-type"]: i for i in instances(aws) if tags(i)["ray-node-type"] == "worker"}
    ray_command(aws, "launcher", "down", "-y", "cluster.yaml")
    left = instances(aws)
    return SimpleNamespace(
        up=up, head=head, executed=executed, watched=watched, config=config, counts=counts, workers=workers, left=left
    )


@pytest.fixture
def our_score(monkeypatch):
    """The score of cluster.yaml in place of Ray's."""
    monkeypatch.setenv(SCORER, start_environment()[SCORER])


def documented_blocks():
    """Return the Python of docs/cluster.md, block by block."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.S)


def documented_script():
    """Return the Python in the documentation that makes bucket, roles and group."""
    (script,) = [block for block in documented_blocks() if "create_security_group" in block]
    assert f'ADDRESS = "{ADDRESS}"' in script
    return script


@contextlib.contextmanager
def allowed(aws, who):
    """Be one who may do what the policy of ``who`` names. moto heeds actions alone, no resources and no conditions."""
    statements = json.loads(DOCUMENTS)[who]["Statement"]
    actions = [a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]
    with contextlib.suppress(aws.iam.exceptions.EntityAlreadyExistsException):
        aws.iam.create_user(UserName=who)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        aws.iam.put_user_policy(UserName=who, PolicyName=who, PolicyDocument=json.dumps(policy))
    key = aws.iam.create_access_key(UserName=who)["AccessKey"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        patch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        forget_clients()
        yield
    aws.iam.delete_access_key(UserName=who, AccessKeyId=key["AccessKeyId"])
    forget_clients()


def forget_clients():
    """Make boto3 and Ray read the environment again."""
    boto3.setup_default_session()
    ray_aws.resource_cache.cache_clear()
    ray_aws.client_cache.cache_clear()


def ray_command(aws, who, *arguments):
    path = f"{aws.programs}:{os.environ['PATH']}"
    with allowed(aws, who):
        done = subprocess.run(
            [Path(sys.executable).with_name("ray"), *arguments],
            cwd=aws.project,
            env=os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr


def requests(aws):
    """Return what ssh and rsync were asked so far: lists of program and arguments."""
    return [json.loads(line) for line in (aws.programs / "log").read_text().splitlines()]


def commands(asked):
    """Return the commands among the requests, without the quotes within quotes."""
    return [re.sub(r"""['"\\]+""", "", request[-1]) for request in asked if request[0] == "ssh"]


def instances(aws):
    pages = aws.ec2.describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    )
    return [instance for r in pages["Reservations"] for instance in r["Instances"]]


def autoscale(aws, config):
    """Run Ray's autoscaler as the head does, with its rights; return the workers after each step, counted by type."""
    own = {"disable_node_updaters": True, "foreground_node_launch": True, "worker_liveness_check": False}
    config = config | {"file_mounts": {}, "provider": config["provider"] | own}  # no SSH, no threads
    load, refusing, counts = LoadMetrics(), [True], []

    def answer(params, **_):
        if refusing[0] and "InstanceMarketOptions.MarketType" in params["body"]:
            return SimpleNamespace(status_code=500), {
                "Error": {"Code": "InsufficientInstanceCapacity", "Message": "no"}
            }
        return None

    with allowed(aws, "head"), pytest.MonkeyPatch.context() as patch:
        patch.setenv(SCORER, start_environment()[SCORER])
        autoscaler = StandardAutoscaler(lambda: config, load, gcs_client=None, update_interval_s=0, max_failures=0)
        provider = autoscaler.provider
        provider.ec2_fail_fast.meta.client.meta.events.register("before-call.ec2.RunInstances", answer)
        for refusing[0], cells in [(True, 5), (True, 5), (True, 33), *[(False, 33)] * 3]:
            load.pending_placement_groups = waiting(cells)
            autoscaler.update()
            workers = provider.non_terminated_nodes({"ray-node-type": "worker"})
            counts.append(Counter(provider.node_tags(worker)["ray-user-node-type"] for worker in workers))
    return counts


def start_environment():
    """Return the environment that cluster.yaml gives Ray on the head."""
    (start,) = [line for line in yaml.safe_load(TEXT)["head_start_ray_commands"] if "ray start" in line]
    return dict(re.findall(r"(RAY_\w+)=(\S+)", start))


def waiting(cells, cell=CELL):
    """Return what the autoscaler hears of cells that wait: a placement group each, as Tune makes them."""
    bundle = Bundle(unit_resources=cell)
    return [PlacementGroupTableData(bundles=[bundle], strategy=PlacementStrategy.PACK) for _ in range(cells)]


def to_launch(config, cells, summary, cell=CELL):
    """Return how many machines of each type Ray's scheduler starts for these cells where there is none."""
    types, most = config["available_node_types"], config["max_workers"]
    scheduler = ResourceDemandScheduler(None, types, most, config["head_node_type"], config["upscaling_speed"])
    return scheduler.get_nodes_to_launch([], {"head": 1}, [], {}, waiting(cells, cell), {}, [], summary)[0]


def refusals(kinds, now=0):
    """Return what Ray remembers, ``now`` seconds later, of AWS having refused the types."""
    tracker = NodeProviderAvailabilityTracker(timer=lambda: now)
    for kind in kinds:
        tracker.update_node_availability(kind, 0, NodeLaunchException("InsufficientInstanceCapacity", "no", None))
    return tracker.summary()


def prepared(text=TEXT):
    """Return the configuration as Ray completes it: defaults, and the resources AWS tells of the types."""
    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(yaml.safe_load(text)))
    validate_config(config)
    return config


def profile(instance):
    return instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]


def tags(instance):
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


@pytest.mark.usefixtures("aws")
def test_ray_accepts_it_and_only_workers_train():
    types = prepared()["available_node_types"]
    shapes = {kind: {name: spec["resources"].get(name, 0) for name in ("CPU", "GPU")} for kind, spec in types.items()}
    assert shapes == {"head": {"CPU": 0, "GPU": 0}, "spot": {"CPU": 48, "GPU": 4}, "on-demand": {"CPU": 8, "GPU": 1}}
    counts = {kind: (spec["min_workers"], spec["max_workers"]) for kind, spec in types.items()}
    assert counts == {"head": (0, 0), "spot": (0, 4), "on-demand": (0, 1)}
    assert prepared()["max_workers"] == 5
    assert prepared()["idle_timeout_minutes"] == 5


@pytest.mark.parametrize(
    ("cells", "refused", "expected"),
    [
        (1, [], {"spot": 1}),
        (5, [], {"spot": 1}),
        (33, [], {"spot": 3}),
        (330, [], {"spot": 4}),
        (1, ["spot"], {"on-demand": 1}),
        (4, ["spot"], {"on-demand": 1}),
        (5, ["spot"], {"on-demand": 1, "spot": 1}),
        (33, ["spot"], {"on-demand": 1, "spot": 2}),
        (330, ["spot"], {"on-demand": 1, "spot": 4}),
        (1, ["spot", "on-demand"], {"spot": 1}),
        (33, ["spot", "on-demand"], {"spot": 3}),
        (33, ["on-demand"], {"spot": 3}),
    ],
)
@pytest.mark.usefixtures("our_score")
def test_the_smaller_machine_is_started_where_spot_is_refused_and_nowhere_else(story, cells, refused, expected):
    assert to_launch(story.config, cells, refusals(refused)) == expected


@pytest.mark.parametrize("gpus", [0.1, 0.2, 0.5, 1])
@pytest.mark.usefixtures("our_score")
def test_spot_is_first_whatever_a_cell_asks_for(story, gpus):
    cell = {"CPU": 2, "GPU": gpus}
    assert to_launch(story.config, 1, refusals([]), cell) == {"spot": 1}
    assert to_launch(story.config, 1, refusals(["spot"]), cell) == {"on-demand": 1}
    assert to_launch(story.config, 1, refusals(["spot"]), cell | {"GPU": 2}) == {"spot": 1}  # the other has but one


@pytest.mark.usefixtures("our_score")
def test_a_refusal_is_forgotten_after_half_an_hour(story):
    assert to_launch(story.config, 4, refusals(["spot"], now=30 * 60)) == {"on-demand": 1}
    assert to_launch(story.config, 4, refusals(["spot"], now=30 * 60 + 1)) == {"spot": 1}


def test_the_autoscaler_falls_back_and_returns_as_aws_refuses_spot_and_gives_it(story):
    assert story.counts == [
        {},  # spot asked for, and refused
        {"on-demand": 1},  # and asked for again, for the fifth cell
        {"on-demand": 1},  # again, for 29
        {"on-demand": 1, "spot": 1},  # two asked for; moto gives one spot instance a request
        {"on-demand": 1, "spot": 2},
        {"on-demand": 1, "spot": 2},  # enough
    ]


def test_rays_own_score_would_take_the_smaller_machine_first(story):
    """Why study/spot_first.py: once this fails, Ray's score may do."""
    assert to_launch(story.config, 1, refusals([])) == {"on-demand": 1}
    assert to_launch(story.config, 1, refusals(["on-demand"])) == {"on-demand": 1}


def test_version_2_of_rays_autoscaler_does_not_remember_a_refusal():
    """Why version 1 is asked for: once this fails, version 2 may do for types of the same size."""
    refused = LaunchNodeError("spot", 1, "request", 0)
    instance = Instance(instance_type="spot", launch_request_id="request", status=Instance.REQUESTED)
    key = ("request", "spot")
    event = Reconciler._try_resolve_pending_allocation(instance, {}, {key: refused}, {key: 1})
    assert event.new_instance_status == Instance.ALLOCATION_FAILED
    monitor = CloudResourceMonitor()
    monitor.notify([event])
    assert monitor.get_recoverable_resource_availabilities() == {}
    assert monitor.get_resource_availabilities() == {}


def test_images_are_of_the_pinned_ray_and_python():
    ray_version = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
    docker = yaml.safe_load(TEXT)["docker"]
    assert docker["head_image"] == f"rayproject/ray:{ray_version}-py311-cpu"
    assert docker["worker_image"] == f"rayproject/ray:{ray_version}-py311-gpu"


@pytest.mark.parametrize("text", [TEXT, DOCUMENTS])
def test_no_secret_no_open_address_and_a_placeholder_that_cannot_be_a_bucket(text):
    assert not re.search(r"0\.0\.0\.0|::/0|AKIA|ASIA|secret|password|PRIVATE KEY|credentials", text, re.I)
    assert "arn:aws:s3:::*" not in text
    assert "CHANGE-ME" in text
    assert PLACEHOLDER in TEXT
    assert not re.fullmatch(r"[a-z0-9.-]{3,63}", "CHANGE-ME")


def test_an_unedited_group_is_refused_before_anything_starts(aws):
    before = aws.ec2.describe_instances()["Reservations"]
    with pytest.raises((AssertionError, ClickException)):
        bootstrap_aws(prepared())
    assert aws.ec2.describe_instances()["Reservations"] == before


@pytest.mark.usefixtures("aws")
def test_a_group_left_to_ray_would_be_open_to_the_world():
    """Why the file names a group: once this fails, Ray's security_group and IpPermissions will do."""
    config = prepared(TEXT.replace(REGION, "eu-west-1"))
    for spec in config["available_node_types"].values():
        del spec["node_config"]["SecurityGroupIds"]
    own = {"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": ADDRESS}]}
    config["provider"]["security_group"] = {"GroupName": "ours", "IpPermissions": [own]}
    bootstrap_aws(config)
    groups = boto3.client("ec2", "eu-west-1").describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["ours"]}]
    )["SecurityGroups"]
    assert "0.0.0.0/0" in [r["CidrIp"] for rule in groups[0]["IpPermissions"] for r in rule["IpRanges"]]


def test_ray_up_starts_the_head_as_written(story):
    (head,) = story.head
    assert head["InstanceType"] == "m7i.xlarge"
    assert profile(head) == f"{NAME}-head"
    assert head["KeyName"] == NAME
    assert head["MetadataOptions"]["HttpTokens"] == "required"
    assert "SpotInstanceRequestId" not in head
    assert {key: tags(head)[key] for key in ("ray-cluster-name", "ray-node-type", "ray-node-status")} == {
        "ray-cluster-name": NAME,
        "ray-node-type": "head",
        "ray-node-status": "up-to-date",
    }


def test_port_22_is_open_to_one_address_and_ray_added_nothing(aws, story):
    for machine in (*story.head, *story.workers.values()):
        assert [group["GroupId"] for group in machine["SecurityGroups"]] == [aws.group]
    groups = aws.ec2.describe_security_groups()["SecurityGroups"]
    assert sorted(group["GroupName"] for group in groups) == ["default", NAME]
    (rules,) = [group["IpPermissions"] for group in groups if group["GroupId"] == aws.group]
    opened = {
        (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"), *(r["CidrIp"] for r in rule["IpRanges"]))
        for rule in rules
    }
    assert opened == {("tcp", 22, 22, ADDRESS), ("-1", None, None)}
    assert [p["GroupId"] for rule in rules for p in rule["UserIdGroupPairs"]] == [aws.group]


def test_roles_are_those_of_the_documents_and_ray_made_none(aws, story):
    assert sorted(role["RoleName"] for role in aws.iam.list_roles()["Roles"]) == [f"{NAME}-head", f"{NAME}-worker"]
    documents = json.loads(DOCUMENTS.replace("CHANGE-ME", BUCKET))
    for machine in ("head", "worker"):
        role = f"{NAME}-{machine}"
        assert aws.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        stored = aws.iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]
        assert stored == documents[machine]
    assert [bucket["Name"] for bucket in aws.s3.list_buckets()["Buckets"]] == [BUCKET]


@pytest.mark.parametrize(
    ("kind", "size", "market"), [("spot", "g5.12xlarge", "spot"), ("on-demand", "g5.2xlarge", None)]
)
def test_workers_are_spot_or_on_demand_with_the_smaller_role(story, kind, size, market):
    worker = story.workers[kind]
    assert worker["InstanceType"] == size
    assert worker.get("InstanceLifecycle") == market
    assert profile(worker) == f"{NAME}-worker"
    assert worker["MetadataOptions"]["HttpTokens"] == "required"
    assert tags(worker)["ray-cluster-name"] == NAME
    assert ("InstanceMarketOptions" in story.config["available_node_types"][kind]["node_config"]) == (kind == "spot")


def test_ray_down_ends_all_machines(story):
    assert sum(story.counts[-1].values()) == 3
    assert story.left == []


def test_the_container_has_the_storage_the_address_and_all_of_shm(story):
    (run,) = [command for command in commands(story.up) if "docker run" in command]
    image = yaml.safe_load(TEXT)["docker"]["head_image"]
    for part in (
        f"--env STUDY_STORAGE=s3://{BUCKET}/studies",
        "--env RAY_ADDRESS=auto",
        "--env STUDY_GPUS_PER_TRIAL=0.25",
        "--env RAY_AUTH_MODE=disabled",
        f"{NAME}/home/ray/{NAME}:/home/ray/{NAME}",
        f" {image} bash",
    ):
        assert part in run.replace("//", "/").replace("s3:/", "s3://"), run
    assert int(re.search(r"--shm-size=(\d+)", run)[1]) > 4e9  # 30 % of the memory


def test_the_head_installs_the_pinned_project_and_starts_ray_on_loopback(story):
    asked = commands(story.up)
    (install,) = [command for command in asked if "constraints.txt" in command]
    assert f"cd /home/ray/{NAME} && pip install --quiet -c constraints.txt -e .[cluster]" in install
    (start,) = [command for command in asked if "ray start --head" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert "--disable-usage-stats" in start  # after RAY_USAGE_STATS_ENABLED, which ray up sets as on its own machine
    assert "RAY_OVERRIDE_RESOURCES={CPU:0}" in start
    environment = " ".join(f"{name}={value}" for name, value in start_environment().items())
    assert f"RAY_enable_autoscaler_v2=0 {SCORER}=study.spot_first.score" == environment
    assert f"{environment} ray start --head" in start  # the last word, after what ray up exports
    assert asked.index(install) < asked.index(start)


def test_a_run_is_watched_by_attach_monitor_and_dashboard(story):
    asked = commands(story.watched)
    assert any("tmux attach" in command for command in asked)
    assert any("tail -n 100 -f /tmp/ray/session_latest/logs/monitor*" in command for command in asked)
    assert any("8265:localhost:8265" in word for request in story.watched for word in request)


def test_the_spot_price_of_now_is_printed(aws, capsys):
    (script,) = [block for block in documented_blocks() if "describe_spot_price_history" in block]
    with contextlib.chdir(aws.project):
        exec(compile(script, "docs", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.fullmatch(rf"{REGION}\w .+ \d+\.\d+", line) for line in lines)


def test_a_run_is_started_in_the_container_by_exec_and_by_submit(story):
    asked = [command for command in commands(story.executed) if "docker exec" in command]
    assert any("tmux new -d bash -c study run --grid full" in command for command in asked)
    assert any("python /home/ray/__main__.py run --grid full" in command for command in asked)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="ray up needs rsync; so does this")
def test_the_project_goes_along_without_what_is_made_from_it(story, tmp_path):
    """The real rsync, with the filters that `ray up` gave it, on a folder with one file of each sort."""
    (request,) = [r for r in story.up if r[0] == "rsync" and r[-1].endswith(f"/{NAME}/")]
    assert request[-2] == "./"
    taken = ["pyproject.toml", "constraints.txt", "study/grid/shipped/full.yaml", "trainables/config.py", ".gitignore"]
    left = [".git/config", ".venv/bin/python", "studies/full/study.json", "reports/full/report.html", "x.egg-info/a"]
    for name in taken + left:
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_text(name)
    shutil.copy(ROOT / ".gitignore", tmp_path / "from")
    filters = [p for i, part in enumerate(request) if part in ("--exclude", "--filter") for p in request[i : i + 2]]
    subprocess.run(["rsync", "-a", *filters, "./", tmp_path / "to"], cwd=tmp_path / "from", check=True)
    there = [str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*") if path.is_file()]
    assert sorted(there) == sorted(taken)


def test_roles_name_this_cluster_its_types_and_one_bucket():
    """What moto does not heed: the resources and conditions of the policies, against cluster.yaml."""
    documents, config = json.loads(DOCUMENTS), yaml.safe_load(TEXT)
    types = {kind: spec["node_config"]["InstanceType"] for kind, spec in config["available_node_types"].items()}
    starts = {"head": {types["spot"], types["on-demand"]}, "launcher": {types["head"]}}
    passes = {"head": "worker", "launcher": "head"}
    assert config["cluster_name"] == NAME
    for who, document in documents.items():
        for statement in document["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            where = statement.get("Resource")
            equal = statement.get("Condition", {}).get("StringEquals", {})
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in actions)
            if where == "*":
                assert all(action.startswith("ec2:Describe") for action in actions)
            if any(action.startswith("s3:") for action in actions):
                assert where in ("arn:aws:s3:::CHANGE-ME", "arn:aws:s3:::CHANGE-ME/*")
            if "ec2:TerminateInstances" in actions:
                assert equal == {"aws:ResourceTag/ray-cluster-name": NAME}
            if actions == ["ec2:CreateTags"]:
                assert equal == {"ec2:CreateAction": "RunInstances"}
            if actions == ["ec2:RunInstances"] and "instance/*" in str(where):
                kinds = equal["ec2:InstanceType"]
                assert set(kinds if isinstance(kinds, list) else [kinds]) == starts[who]
                assert equal["aws:RequestTag/ray-cluster-name"] == NAME
                assert equal["ec2:MetadataHttpTokens"] == "required"
            if actions == ["iam:PassRole"]:
                assert where == f"arn:aws:iam::*:role/{NAME}-{passes[who]}"
    assert {a for s in documents["worker"]["Statement"] for a in s["Action"]} == {
        "s3:ListBucket",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
    }
