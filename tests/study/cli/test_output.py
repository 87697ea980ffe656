"""What others have written is only text; an answer is written whatever the terminal is, or one line says why not."""

import csv
import io
import json
import os
import re
import subprocess

import pytest
from rich.table import Table

from analysis.output.sheet import spreadsheet_text
from study.console import LONGEST_PROBLEM, PlainConsole, set_level, tell_problem
from tests.study.cli.conftest import STUDY, clean

# Markup of rich, codes of emoji, sequences that a terminal obeys (among them a title and a C1 control), a formula.
HOSTILE = ["[relu,tanh]", "a[/b]", "pets:cat:", "\x1b[31mred", "\x1b]0;title\x9c", "\x9b2J", "=1+1", "[link=x]y[/link]"]
PICTURES = {"\x1b": "␛", "\x9b": "�", "\x9c": "�"}
MODEL = """
from typing import ClassVar
from trainables import FunctionSettings, Metric

class Settings(FunctionSettings):
    metrics: ClassVar = (Metric("rmse", "min"),)
    act: str = "relu"

def train(settings: Settings, seed: int):
    for epoch in range(settings.max_epochs):
        yield {"val_rmse": 1.0, "test_rmse": 1.0}
"""


def as_shown(text):
    for character, picture in PICTURES.items():
        text = text.replace(character, picture)
    return text


def assert_is_harmless(*texts):
    for text in texts:
        assert not set(text) & set(PICTURES)


@pytest.fixture
def imported(study, tmp_path):
    """A study with one cell for each hostile text, and two seeds."""
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["act", "seed", "val_acc", "test_acc"])
        for place, text in enumerate(HOSTILE):
            writer.writerows([text, seed, 0.5 + place / 100, 0.25 + seed / 8] for seed in (0, 1))
    arguments = ["--into", "made", "--factors", "act", "--seed", "seed", "--metric", "val_acc", "--metric", "test_acc"]
    code, out, errors = study("import", "runs.csv", *arguments)
    assert (code, errors) == (0, "")
    assert_is_harmless(out)
    return study


def test_every_command_shows_the_texts_of_others_as_they_are(imported, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    own = re.compile(r"\x1b\[[0-9;]*m")  # rich's colours and nothing else
    commands = {
        "analyze made --format csv": HOSTILE,
        "diff made made": HOSTILE,
        "list": [],
        "status made": [],
        "export made --out x[old].csv": ["x[old].csv"],
        "archive made --out :cat:.tar.gz": [":cat:.tar.gz"],
        "merge made --into other": [],
        "confirm made": ["made"],
        "status a[/b]": ["a[/b]"],
        "remove made --yes": [],
        "restore :cat:.tar.gz": [],
        "grids show [relu].yaml": ["[relu].yaml"],
    }
    for command, texts in commands.items():
        code, out, errors = imported(*command.split())
        shown = own.sub("", out + errors)
        assert_is_harmless(shown)
        assert code in (0, 2), command
        for text in texts:
            assert as_shown(text) in shown.replace("\n", ""), command


def test_a_plan_and_a_grid_show_the_settings_of_a_model_as_they_are(study, tmp_path, monkeypatch):
    (tmp_path / "own_texts.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    values = json.dumps(HOSTILE)  # JSON is YAML, with escapes for what YAML does not allow
    (tmp_path / "own.yaml").write_text(
        f"name: own\ndescription: x\nprotocol: {{model: 'own_texts:train', max_epochs: 1}}\n"
        f"factors: {{act: {{role: scientific, values: {values}}}}}\n"
    )
    for command in (["plan", "--grid", "own.yaml"], ["grids", "show", "own.yaml", "--cells"]):
        code, out, errors = study(*command)
        assert (code, errors) == (0, "")
        assert_is_harmless(out)
        assert all(as_shown(text) in out for text in HOSTILE)
        assert "…" not in out
    cells = json.loads(study("plan", "--grid", "own.yaml", "--json")[1])["cells"]
    assert [cell["act"] for cell in cells] == HOSTILE


def test_json_is_json_whatever_the_environment_says(imported, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "20", "TERM": "xterm-256color", "TTY_COMPATIBLE": "1"}.items():
        monkeypatch.setenv(name, value)

    def no_constants(name):
        raise AssertionError(name)

    for command in ("list", "status made", "grids", "grids show smoke", "diff made made", "analyze made"):
        code, out, _ = imported(*command.split(), "--json")
        assert code == 0
        assert out.isascii()
        json.loads(out, parse_constant=no_constants)


def test_formulas_are_texts_in_a_csv_and_as_they_are_in_parquet(imported, tmp_path):
    import pandas as pd

    assert imported("export", "made", "--out", "made.csv")[0] == 0
    assert imported("export", "made", "--out", "made.parquet")[0] == 0
    assert "'=1+1" in set(pd.read_csv(tmp_path / "made.csv")["act"])
    assert set(pd.read_parquet(tmp_path / "made.parquet")["act"]) == set(HOSTILE)
    assert list(map(spreadsheet_text, ["@x", "+a", "-b", "-0.5", "a=b", "", 3])) == [
        *("'@x", "'+a", "'-b", "-0.5", "a=b", "", 3)
    ]


def test_no_table_is_cut_in_a_pipe_or_on_a_narrow_terminal():
    words = ["a_long_word_" * 5, "12345.678 to 23456.789", "short"]
    for settings in ({}, {"force_terminal": True, "width": 20}, {"force_terminal": True, "_environ": {"TERM": "dumb"}}):
        console = PlainConsole(file=io.StringIO(), color_system=None, **settings)
        table = Table("one", "two", "three", box=None)
        table.columns[1].no_wrap = True
        table.add_row(*words)
        console.print(table)
        text = console.file.getvalue()
        assert "…" not in text
        assert all(word in " ".join(text.split()) for word in words)


def test_a_long_message_loses_its_middle(capsys):
    set_level(quiet=False, verbose=False)
    tell_problem("first\n" + "x" * 10_000 + " last")
    line = capsys.readouterr().err
    assert line.startswith("first xxx")
    assert line.endswith("xxx last\n")
    assert len(line) < LONGEST_PROBLEM + 20
    set_level(quiet=False, verbose=True)
    tell_problem("x" * 10_000)
    assert len(capsys.readouterr().err) == 10_001
    set_level(quiet=False, verbose=False)


def run(command, folder, **environment):
    script = f'"{STUDY}" {command}'
    return subprocess.run(["bash", "-c", script], cwd=folder, env=clean(**environment), capture_output=True)


@pytest.mark.parametrize(
    ("command", "environment", "message"),
    [
        ("grids >/dev/full", {}, b"study: the system refuses: [Errno 28] No space left on device\n"),
        ("grids --json >/dev/full", {}, b"study: the system refuses: [Errno 28] No space left on device\n"),
        ("grids >&-", {}, b"study: stdout is closed; send it to a file or to /dev/null\n"),
        ("grids show table1 --json | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}", {}, b""),
    ],
)
def test_output_that_cannot_be_written_is_one_line(tmp_path, command, environment, message):
    done = run(command, tmp_path, **environment)
    assert done.stderr == message
    # The pipe may hold all of a short answer before its reader goes.
    assert done.returncode == 2 or not message


def test_a_terminal_that_is_not_utf8_gets_the_answer(tmp_path):
    done = run("grids show smoke --cells; " + f'"{STUDY}" status "ü–x"', tmp_path, PYTHONIOENCODING="latin-1")
    assert b"22b0c0058e87" in done.stdout
    assert "study name 'ü?x'".encode("latin-1") in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_all_that_is_printed_goes_through_the_console():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))  # noqa: PTH120
    found = subprocess.run(
        ["grep", "-rnE", r"rich.console import .*Console\b|(^|[^_.a-z])print\(|traceback\.print", "study", "analysis"],
        cwd=root, capture_output=True, text=True,
    ).stdout  # fmt: skip
    places = {line.split(":")[0] for line in found.splitlines() if line.split(":")[0].endswith(".py")}
    assert places == {"study/console.py", "study/cli/app.py"}
