"""The code blocks of README.md and docs/: every `study` command parses; the tutorial and what reads a store are run.

Only parsed: commands other than those of tutorial.md, which train for minutes or need a cluster, and the Python of
cluster.md, which makes things on AWS. Lines for aws, ray, pip, make and the like are not looked at.
"""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import typer
import yaml

from study.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}.*\n|\n(?= {4}))+)")


def blocks(page):
    """Yield the language, where it is told, and the text of each block."""
    text = page.read_text()
    for language, block in FENCED.findall(text):
        yield language, block
    for block in INDENTED.findall(FENCED.sub("", text)):
        block = textwrap.dedent(block)
        yield ("python" if block.startswith("import ") else ""), block


ELSEWHERE = {"cluster.md", "growing.md", "own-model.md"}  # makes things on AWS; have tests of their own
COMMANDS = [
    pytest.param(match[1], id=f"{page.name}: {match[1][:60]}")
    for page in PAGES
    for language, block in blocks(page)
    if language in ("", "sh")
    for match in re.finditer(r"^(?:\.venv/bin/)?(study [a-z].*)$", block, re.MULTILINE)
]
PYTHON = [
    pytest.param(page, block, id=f"{page.name}-{index}")
    for page in PAGES
    for index, (language, block) in enumerate(blocks(page))
    if language == "python"
]


def test_blocks_are_found():
    assert len(COMMANDS) > 30
    assert len(PYTHON) >= 6


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line):
    command, arguments = typer.main.get_command(app), shlex.split(line.partition(" > ")[0], comments=True)[1:]
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    command.make_context("study", arguments)  # raises for an unknown command or option


@pytest.fixture(scope="module")
def folder(tmp_path_factory, environment):
    """A folder where the tutorial's commands were given, and where a small dropout-or-rate was trained."""
    folder = tmp_path_factory.mktemp("docs")
    grid = yaml.safe_load((ROOT / "study" / "grids" / "dropout-or-rate.yaml").read_text())
    grid |= {"seeds": 2, "protocol": {"max_epochs": 1, "train_pairs": 400, "test_pairs": 200}}
    grid["factors"]["aux_weight"]["values"] = [1]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(grid))
    lines = re.findall(r"^study .*$", (ROOT / "docs" / "tutorial.md").read_text(), re.MULTILINE)
    for line in ["study run --grid tiny.yaml", *lines]:
        done = subprocess.run(
            shlex.split(line), cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert len(lines) == 5
    return folder


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_compiles(page, block):
    compile(block, page.name, "exec")


@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_python_runs(folder, environment):
    """One test, so that what it reads is trained once, however tests are spread over processes."""
    cases = [case.values for case in PYTHON if case.values[0].name not in ELSEWHERE]
    assert len(cases) >= 5
    for page, block in cases:
        command = [sys.executable, "-c", block]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{page.name}: {done.stderr}"
