"""The scripts of docs/coming-from.md for other tools: those whose tools are here run, and report what the page says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "coming-from.md"
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture
def script(tmp_path, environment):
    """Run a script of the page with two cells, seeds and epochs; return what it prints."""
    shutil.copy(ROOT / "examples" / "boosting.py", tmp_path)

    def run(name):
        code = re.search(rf"^# {name}\n.*?(?=^```)", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
        for before, after in (("range(5)", "range(2)"), ("0.02, 0.05, 0.2", "0.05"), ("=20", "=2")):
            assert before in code
            code = code.replace(before, after)
        code = re.sub(r"(grace_period|min_resource)=5", r"\1=1", code)
        (tmp_path / name).write_text(code)
        variables = environment | {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, name], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


def test_optuna_has_a_row_for_each_cell(script):
    shown = script("with_optuna.py")
    states = re.findall(r"^[01] .* \[[\d., ]+\] +(COMPLETE|PRUNED)$", shown, re.MULTILINE)
    assert len(states) == 2
    assert "COMPLETE" in states


def test_tune_has_a_row_for_each_cell(script):
    rows = re.findall(r"^[01] .*$", script("with_tune.py"), re.MULTILINE)
    assert len(rows) == 2
    assert {tuple(row.split()[-2:]) for row in rows} == {
        ("1", "0.05"),
        ("3", "0.05"),
    }
