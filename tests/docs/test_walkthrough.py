"""README.md and the guides, page by page: files are written down, commands and code are given in their order.

Each page has its own folder. The real program does what the page says; only the trainings are small, because SMALL
changes what is read from grid files. The pages share their studies, so that what several pages train is trained once,
except for those in OWN_STUDIES; and a line of ONCE that one of them has given is not given again by another: it would
find nothing to train. They also share a Ray. test_first_runs.py gives the tutorial's commands with a Ray of their own,
and one of them twice. Left out are the lines for whole clusters (ELSEWHERE) and the Python of cluster.md:
test_cluster_yaml.py runs them against a simulated AWS, and test_onprem.py on simulated hosts. Left out are also
`make test`, of which this is a part, and growing.md, which has its own test.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import WITHOUT_TRACKERS

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
ROOT = Path(__file__).parents[2]
MNIST = os.environ.get("STUDY_TEST_MNIST_DIR")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$|(?<=\n\n)((?: {4}[^\n]*\n|\n(?= {4}))+)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.(?:yaml|toml|py))\n")
GIVEN = re.compile(
    r"(\.venv/bin/)?study |make study|python -m benchmarks|(cd|export|source|tensorboard|pip|sed|ray get-)"
)
ELSEWHERE = ("make test", "ray up ", "ray exec ", "ray attach ", "ray monitor ", "ray dashboard ", "ray down ")
PROJECT = ("pyproject.toml", "constraints.txt", "README.md", "cluster.yaml", "cluster.iam.json")
OWN_STUDIES = (  # pages that need to train what another page trains too, or call another study by the same name
    "beyond.md",
    "gpu.md",
    "tracking.md",
)
ONCE = re.compile(r"study (run|confirm|analyze) (?!.*\.yaml)")  # a page's own files are its own
BEFORE = {  # what a page assumes
    "README.md": [
        "study run --grid dropout-or-rate",
        "study run --grid full",
        "study archive full --out lab2.tar.gz",
        "study restore lab2.tar.gz --storage lab2/studies",
    ],
    "cluster.md": ["study run --grid full --seeds 2"],
    "store.md": ["study run --grid dropout-or-rate --seeds 2"],
}
# What pages install is already in the environment of the tests, which has all extras: pip only says whether it is.
PIP = {"PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
REPLACED = {  # places that do not exist here, and what would read the grids as they are
    ".venv/bin/": "",
    "python -m": "small",
    "tensorboard --logdir": "served tensorboard --logdir",
    "ray get-auth-token": "HOME=$PWD/home ray get-auth-token",
    "/mnt/lab2/": "lab2/",
    "/mnt/lab/studies": "studies",
    "s3://my-study-bucket/studies": "studies",
    "--address 10.0.0.5:6379": "",
    "run --grid full --cells-per-trial 4 --gpus-per-trial 0.5": "plan --grid full --gpus 1 --gpus-per-trial 0.5",
}
SMALL = f"""#!{sys.executable}
import runpy
import sys

import yaml
from study.grid import load
from study.grid.yaml_text import YamlFile

read = load.read_grid

def read_small(name):
    path, text = read(name)
    content = YamlFile(text).content
    protocol = content.get("protocol", {{}}) | {{"max_epochs": 2}}
    if "model" not in protocol:  # your own model has other settings
        protocol |= {{"train_pairs": 250, "test_pairs": 100}}
    if len(weights := content.get("factors", {{}}).get("aux_weight", {{}}).get("values", [])) > 3:
        weights[:] = [weight for weight in weights if weight in (0, 1, 10)]  # those that shipped grids name elsewhere
    if "search" in content:
        content["search"]["budget"]["trainings"] = 20  # ten cells, enough for importance
    if "replicate" in content:
        content["replicate"]["looks"] = [2, 3]  # the first is the number of seeds
    return path, yaml.safe_dump(content | {{"protocol": protocol, "seeds": 2}})

load.read_grid = read_small
if sys.argv[0].endswith("study"):
    from study.cli.app import main  # once what it reads is small

    main()
else:
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__")
"""


SERVED = f"""#!{sys.executable}
import json, socket, subprocess, sys, time, urllib.error, urllib.request

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
server = subprocess.Popen([*sys.argv[1:], "--port", str(port)])
try:
    for _ in range(240):
        assert server.poll() is None
        time.sleep(0.25)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{{port}}/data/runs") as answer:
                if json.load(answer):
                    break
        except urllib.error.URLError:  # it does not listen yet
            continue
    else:
        sys.exit("no run is shown within a minute")
finally:
    server.terminate()
    server.wait()
"""


def blocks(page):
    """Yield the language, if it is given, and the text of each block."""
    for language, fenced, indented in BLOCK.findall(page.read_text()):
        text = fenced or textwrap.dedent(indented)
        yield language or ("python" if text.startswith("import ") else ""), text


def commands(block):
    """Return the lines of a block that a shell gets, as it gets them."""
    whole = block.replace("\\\n", " ").splitlines()
    lines = [line for line in whole if line.strip() and not line.startswith(ELSEWHERE)]
    unknown = [line for line in lines if not GIVEN.match(line)]
    assert not unknown
    for line in lines:
        if line.startswith("make study"):
            make = ["make", "--dry-run", "--directory", ROOT, "study", f"VENV={sys.prefix}"]
            made = subprocess.run(make, capture_output=True, text=True, check=True).stdout
            found = re.findall(r"study (?:run|analyze) .*$", made, re.MULTILINE)
            assert len(found) == 2
            yield from found
            continue
        for before, after in REPLACED.items():
            line = line.replace(before, after)
        yield line


def is_run(page):
    return page.name not in ("growing.md", "LOG.md") and any(
        language in ("", "sh", "python") for language, _ in blocks(page)
    )


def test_blocks_are_found():
    shell = [block for page in PAGES if is_run(page) for language, block in blocks(page) if language in ("", "sh")]
    assert len(shell) >= 35
    assert sum(len(list(commands(block))) for block in shell) >= 65


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The folder with the studies that all pages share, and the lines that were given there."""
    return tmp_path_factory.mktemp("studies"), []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES if is_run(page)])
def test_what_the_page_says_can_be_done(page, tmp_path, environment, studies):
    (folder, given), (programs, project) = studies, (tmp_path / "bin", tmp_path / "project")
    for made in (programs, project, tmp_path / "home"):
        made.mkdir()
    for name, text in {"study": SMALL, "small": SMALL, "served": SERVED}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name in PROJECT:
        shutil.copy(ROOT / name, project)
    for name in ("study", "trainables", "analysis"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    if page.name not in OWN_STUDIES:
        (tmp_path / "studies").symlink_to(folder)
    environment = environment | PIP | {"PATH": f"{programs}:{environment['PATH']}"}
    hidden = [] if page.name == "tracking.md" else [WITHOUT_TRACKERS]
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *hidden])}
    environment |= {"STUDY_DATA_DIR": MNIST} if MNIST else {}
    left_out = []

    def give(*command):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def once(lines):
        for line in lines:
            command = line.partition("  #")[0].strip()
            if page.name in OWN_STUDIES or command not in given or not ONCE.match(command):
                yield line
            if page.name not in OWN_STUDIES:
                given.append(command)

    give("bash", "-exc", "\n".join(once(BEFORE.get(page.name, []))))
    for language, block in blocks(page):
        if name := FILE.match(block):
            (tmp_path / name[1]).write_text(block)
        elif language == "python" and page.name != "cluster.md":
            give(sys.executable, "-c", block)
        elif language in ("", "sh"):
            lines = list(commands(block))
            if not MNIST:
                left_out += [line for line in lines if "mnist" in line or page.name == "beyond.md"]
            place = "project" if any(line.startswith(("pip ", "sed ")) for line in lines) else "."
            lines = [line for line in lines if line not in left_out]
            give("bash", "-exc", "\n".join([f"cd {place}", *once(lines)]))
    if left_out:
        pytest.skip(f"without the files of MNIST these were not given: {left_out}")
