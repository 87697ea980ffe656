"""The code blocks of README.md and docs/: every `study` command parses; the tutorial and what reads a store are run.

Only parsed: commands other than those of tutorial.md, which train for minutes or need a cluster, and the Python of
cluster.md, which makes things on AWS. Lines for aws, ray, pip, make and the like are not looked at.
"""

import os
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
    command, arguments = typer.main.get_command(app), shlex.split(line, comments=True)[1:]
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    command.make_context("study", arguments)  # raises for an unknown command or option


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder where the tutorial's commands were given, and where the study dropout-or-rate is, of one epoch."""
    folder = tmp_path_factory.mktemp("docs")
    grid = yaml.safe_load((ROOT / "study" / "grids" / "dropout-or-rate.yaml").read_text())
    grid |= {"seeds": 2, "protocol": {"max_epochs": 1}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(grid))
    lines = re.findall(r"^study .*$", (ROOT / "docs" / "tutorial.md").read_text(), re.MULTILINE)
    clean = {name: value for name, value in os.environ.items() if name not in {"RAY_ADDRESS", "STUDY_STORAGE"}}
    for line in ["study run --grid tiny.yaml", *lines]:
        command = [str(Path(sys.executable).with_name("study")), *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert len(lines) == 5
    return folder


@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python(page, block, folder):
    compile(block, page.name, "exec")
    if page.name != "cluster.md":
        subprocess.run([sys.executable, "-c", block], cwd=folder, check=True, capture_output=True, timeout=120)
