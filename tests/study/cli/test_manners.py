"""How the command line behaves towards people and programs: help, completion, JSON, colours, options from elsewhere."""

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
import yaml

from study.cli.app import app
from study.cli.help import EXAMPLES, EXIT_CODES
from study.cli.options import bind_environment
from study.grid.load import load_grid
from tests.study.cli.test_app import begin_smoke
from tests.study.conftest import record
from trainables.digits.settings import CellConfig

STUDY = str(Path(sys.executable).with_name("study"))
COMMANDS = typer.main.get_command(app)


def all_commands(group=COMMANDS, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))


def test_each_command_has_examples_that_it_takes():
    assert {" ".join(path) for path, _ in all_commands()} == EXAMPLES.keys()
    for path, command in all_commands():
        lines = [line.strip() for line in EXAMPLES[" ".join(path)].strip().splitlines()]
        examples = [line.partition(" > ")[0] for line in lines if not line.startswith("#")]
        assert examples
        assert any(example.startswith(" ".join(["study", *path])) for example in examples)
        for example in examples:
            words = shlex.split(example)[1:]
            at = COMMANDS
            while hasattr(at, "commands") and words and words[0] in at.commands:
                at = at.commands[words.pop(0)]
            assert at.make_context("study", words).command is at, f"{example} of {command.name}"


@pytest.mark.parametrize("path", [(), *(path for path, _ in all_commands())])
def test_help_fits_80_columns_and_names_exit_codes(study, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", "80")
    code, text, errors = study(*path, "--help")
    assert (code, errors) == (0, "")
    assert max(map(len, text.splitlines())) <= 80
    assert "Exit code" in text
    if path:
        for line in EXAMPLES[" ".join(path)].strip().splitlines():
            assert f" {line.strip()} " in " ".join(text.split()) + " ", "an example must not be wrapped"
            assert line.strip() in text
    else:
        assert all(re.search(rf"^ +{code}  {re.escape(what)}", text, re.MULTILINE) for code, what in EXIT_CODES.items())


def test_version(study):
    from importlib.metadata import version

    assert study("--version") == (0, version("digit-comparator-study") + "\n", "")


BASH = """
eval "$(study --show-completion)"
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _study_completion study; echo "${COMPREPLY[*]}"; }
complete_words study run --grid ""
complete_words study grids show d
complete_words study analyze ""
complete_words study status --storage elsewhere ""
complete_words study plan --sche
complete_words study st
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_grids_and_studies(tmp_path):
    for folder in ("studies/full", "studies/table1", "elsewhere/other"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "study.json").touch()
    (tmp_path / "mine.yaml").touch()
    path = f"{Path(STUDY).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", BASH], cwd=tmp_path, env=clean(PATH=path), capture_output=True, text=True)
    assert done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines == [
        ["smoke", "table1", "protocol", "dropout-or-rate", "search", "full", "beyond", "mine.yaml"],
        ["dropout-or-rate"],
        ["full", "table1"],
        ["other"],
        ["--scheduler"],
        ["status"],
    ]


HEAVY = {"torch", "ray", "pyarrow", "pandas", "numpy", "yaml", "study.grid.grid", "study.store", "analysis"}


@pytest.mark.parametrize("words", ["study run --grid ", "study analyze "])
def test_completion_and_help_import_nothing_heavy(tmp_path, words):
    completing = clean(_STUDY_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    for arguments, environment in (([], completing), (["--help"], clean())):
        environment["PYTHONPROFILEIMPORTTIME"] = "1"
        done = subprocess.run([STUDY, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "study.cli" in imported
        assert not imported & HEAVY


def clean(**more):
    """The environment without what would steer the commands."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STUDY_", "RAY_", "COV"))}
    return {name: value for name, value in kept.items() if name not in ("NO_COLOR", "FORCE_COLOR")} | more


def on_a_terminal(arguments, cwd, environment):
    """What a command writes to a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen([STUDY, *arguments], cwd=cwd, env=environment, stdout=its, stderr=its, stdin=its) as process:
        os.close(its)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # so a terminal whose other end is closed says that there is no more
            pass
        process.wait()
    os.close(ours)
    return text.decode()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["grids", "show", "smoke"], ["grids", "--json"], ["run", "--grid", "x"]]
)
def test_no_color(tmp_path, arguments):
    colour = re.compile(r"\x1b\[[0-9;]*(?:3[0-8]|9[0-7])[0-9;]*m")
    coloured = on_a_terminal(arguments, tmp_path, clean(TERM="xterm-256color"))
    assert colour.search(coloured)
    plain = on_a_terminal(arguments, tmp_path, clean(TERM="xterm-256color", NO_COLOR="1"))
    assert plain
    assert not colour.search(plain)


def test_options_come_from_flags_then_environment_then_file(study, tmp_path, monkeypatch):
    def seeds(*arguments):
        return json.loads(study("plan", "--json", *arguments)[1])["seeds"]

    assert seeds("--grid", "smoke") == 2  # the grid's own
    (tmp_path / "study.toml").write_text('seeds = 3\ngrid = "smoke"\n')
    assert seeds() == 3
    (tmp_path / "study.toml").write_text('seeds = 3\ngrid = "smoke"\n[plan]\nseeds = 4\n[run]\nseeds = 5\n')
    assert seeds() == 4  # a command's table counts more than what is said for all
    monkeypatch.setenv("STUDY_SEEDS", "6")
    assert seeds() == 6
    assert seeds("--seeds", "7") == 7


def test_switches_and_commands_in_commands_come_from_the_file_too(study, tmp_path):
    (tmp_path / "study.toml").write_text("[grids.show]\ncells = true\n[analyze]\nformat = ['csv']\n")
    code, text, _ = study("grids", "show", "smoke")
    assert code == 0
    assert CellConfig(max_epochs=3).cell_id in text
    assert study("analyze")[0] == 2  # of no study, but the list of formats is taken
    assert "no study in studies" in study("analyze")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede = 3", "study.toml: unknown key sede; did you mean seeds?"),
        ("[run]\nsede = 3", "study.toml: unknown key run.sede; did you mean seeds?"),
        ("[run]\nwatch = true", "study.toml: unknown key run.watch; expected one of address, cells-per-trial, "),
        ("[rum]\nseeds = 3", "study.toml: unknown key rum; did you mean run?"),
        ("run = 3", "study.toml: run is a command; its options go into a table [run]"),
        ("[plan]\nseeds = {a = 3}", "study.toml: plan.seeds is a table; expected the value of --seeds"),
        ("seeds = ", "study.toml cannot be read: Invalid value (at end of document); expected TOML in UTF-8"),
        ('seeds = "many"', "Invalid value for '--seeds': Input should be a valid integer"),
    ],
)
def test_bad_study_toml_is_one_line_and_exit_code_2(study, tmp_path, text, message):
    (tmp_path / "study.toml").write_text(text)
    code, out, errors = study("plan", "--grid", "smoke")
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"study: {message}")


def test_wrong_values_are_told_with_where_they_come_from(study, tmp_path, monkeypatch):
    (tmp_path / "study.toml").write_text('seeds = "many"')
    assert study("plan", "--grid", "smoke")[2].endswith(" (study.toml has 'many'). See: study plan --help\n")
    monkeypatch.setenv("STUDY_SEEDS", "few")
    assert study("plan", "--grid", "smoke")[2].endswith(" (STUDY_SEEDS is 'few'). See: study plan --help\n")
    assert study("plan", "--grid", "smoke", "--seeds", "x")[2].endswith("as an integer. See: study plan --help\n")


def test_every_option_has_its_variable():
    command = typer.main.get_command(app)
    bind_environment(command)
    options = {p.opts[0]: p.envvar for p in command.commands["run"].params}
    assert options["--grid"] == "STUDY_GRID"
    assert options["--cpus-per-trial"] == "STUDY_CPUS_PER_TRIAL"
    assert {p.envvar for p in command.params} >= {"STUDY_QUIET", "STUDY_VERBOSE", None}  # None: --version


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "study: Missing option '--grid'. See: study run --help\n"),
        (["rnu"], "study: No such command 'rnu'. Did you mean 'run'? See: study --help\n"),
        (["run", "--sede", "3"], "(Possible options: --scheduler, --seeds). See: study run --help\n"),
        (["grids", "show", "tabel1"], "study: unknown grid 'tabel1': did you mean table1?\n"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_to_do(study, arguments, message):
    code, out, errors = study(*arguments)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert errors.endswith(message)


def test_verbose_adds_the_traceback_wherever_it_stands(study):
    plain, early, late = (
        study(*words)
        for words in (
            ["plan", "--grid", "x"],
            ["--verbose", "plan", "--grid", "x"],
            ["plan", "--grid", "x", "--verbose"],
        )
    )
    assert "Traceback" not in plain[2]
    assert early[2].startswith("Traceback")
    assert late[2].startswith("Traceback")
    assert early[2].endswith(plain[2])


def test_grids_show_gives_the_file_back_or_its_cells(study, tmp_path):
    shipped = Path(__file__).parents[3] / "study" / "grid" / "shipped" / "table1.yaml"
    code, text, _ = study("grids", "show", "table1")
    assert (code, text) == (0, shipped.read_text())
    assert "# The report says 1e-3 for all" in text
    (tmp_path / "mine.yaml").write_text(text)
    cells = json.loads(study("grids", "show", "mine.yaml", "--json")[1])["cells"]
    assert [cell["cell_id"] for cell in cells] == [cell.cell_id for cell in load_grid("table1").cells()]
    lines = study("grids", "show", "mine.yaml", "--cells")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == [cell["cell_id"] for cell in cells]
    assert lines[-1].split()[1:] == ["classifier", "on", "0", "0", "0.001"]


def test_grids_schema_gives_the_schema_or_its_path(study):
    _, text, _ = study("grids", "schema")
    path = Path(study("grids", "schema", "--path")[1].strip())
    assert json.loads(text) == json.loads(path.read_text())
    assert json.loads(text)["title"] == "Grid of an ablation study"


def test_lists_plans_and_status_as_json(study, make_result):
    assert study("list", "--json") == (0, "[]\n", "")
    cell = CellConfig(sharing=True, max_epochs=3)
    begin_smoke("smoke").write(make_result([record(0, 3, "completed"), record(1, 1, "failed", error="made")], cell))
    counts = {"finished": 1, "pruned": 0, "failed": 1, "missing": 6, "unreadable": []}
    assert json.loads(study("list", "--json")[1]) == [
        {"study": "smoke", "grid": "smoke", "cells": 4, "seeds": 2, "search": None, **counts}
    ]

    plan = json.loads(study("plan", "--grid", "smoke", "--json", "--cpus", "2", "--gpus", "0", "--price", "3.6")[1])
    assert (plan["study"], plan["to_train"]) == ("smoke", 7)
    (planned,) = (c for c in plan["cells"] if c["cell_id"] == cell.cell_id)
    assert planned == {
        "cell_id": cell.cell_id,
        **cell.model_dump(),
        "has": {"completed": 1, "failed": 1},
        "to_train": 1,
    }
    ahead = plan["forecast"]
    assert (ahead["cells_at_once"], ahead["rate"]["mean_s"]) == (2, 60)  # the finished training took its cell's minute
    assert [1000 * price for price in ahead["price"]] == pytest.approx(ahead["time_s"])  # 3.6 an hour

    status = json.loads(study("status", "smoke", "--json")[1])
    assert status["trials"] == {"finished": 1, "pruned": 0, "failed": 1}
    assert (status["planned"], status["missing"], status["driver"]) == (8, 6, None)
    assert status["failures"] == [{"cell": "sharing on, aux_weight 0", "error": "made"}]
    counts = [grid["trials"] for grid in json.loads(study("grids", "--json")[1])]
    assert counts == [8, 90, 160, 240, 150, 330, 80]


def run(folder, *arguments, **environment):
    command = [STUDY, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=clean(**environment), capture_output=True, text=True, timeout=300)


# A grid with all that an own one may say: conditions, skipped and explicit cells, and every setting of the protocol.
OWN = """
name: own
description: Of a test.
seeds: 2
factors:
  sharing: {role: scientific, values: [off, on]}
  dropout: {role: tuned, values: [0, 0.5]}
rules:
  - {when: {dropout: 0.5}, set: {learning_rate: 1e-2}}
skip: [{sharing: on, dropout: 0}]
cells: [{sharing: on, dropout: 0.25}]
protocol:
  {max_epochs: 4, batch_size: 20, plateau_patience: 1, plateau_factor: 0.5, stop_patience: 3,
  train_pairs: 200, test_pairs: 150, validation_share: 0.3, fixed_data: on}
stopping: {scheduler: none}
"""


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_own_grid_runs_as_it_says_and_json_quiet_and_verbose_do_theirs(tmp_path, cluster):
    (tmp_path / "own.yaml").write_text(OWN)
    protocol = yaml.safe_load(OWN)["protocol"]
    wanted = {(False, 0.0, 0.001), (False, 0.5, 0.01), (True, 0.5, 0.01), (True, 0.25, 0.001)}
    planned = json.loads(run(tmp_path, "plan", "--grid", "own.yaml", "--json").stdout)["cells"]
    assert {(c["sharing"], c["dropout"], c["learning_rate"]) for c in planned} == wanted
    assert all(protocol.items() <= cell.items() for cell in planned)

    done = run(tmp_path, "run", "--grid", "own.yaml", "--json", RAY_ADDRESS=cluster.address)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["study"], outcome["trials"], outcome["missing"]) == (
        "own",
        {"finished": 8, "pruned": 0, "failed": 0},
        0,
    )
    assert "4 of 4 cells done" in done.stderr
    trials = pd.read_parquet(tmp_path / "studies" / "own" / "trials")
    assert {tuple(row) for row in trials[["sharing", "dropout", "learning_rate"]].to_numpy()} == wanted
    assert trials["epochs"].max() == 4
    # each accuracy is a count over the pairs that the protocol asks for: 150 test, 30 % of 200 validation
    for name, pairs in (("test_accuracy", 150), ("val_accuracy", 60)):
        assert (trials[name] * pairs).to_numpy() == pytest.approx((trials[name] * pairs).round().to_numpy(), abs=1e-4)

    quiet = run(tmp_path, "run", "--grid", "own.yaml", "--seeds", 3, "--quiet", RAY_ADDRESS=cluster.address)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = run(tmp_path, "run", "--grid", "own.yaml", "--seeds", 4, "--verbose", RAY_ADDRESS=cluster.address)
    assert "Connecting to existing Ray cluster" in verbose.stderr
    assert "Connecting to existing Ray cluster" not in done.stderr
    assert len(pd.read_parquet(tmp_path / "studies" / "own" / "trials")) == 16


@pytest.mark.long
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_failed_cells_are_told_even_when_quiet_with_what_to_do_next(tmp_path, cluster):
    (tmp_path / "nan.yaml").write_text(
        "name: nan\ndescription: Of a test.\nseeds: 2\nfactors: {learning_rate: {role: tuned, values: [1e30]}}\n"
        "protocol: {max_epochs: 2}\n"
    )
    done = run(tmp_path, "run", "--grid", "nan.yaml", RAY_ADDRESS=cluster.address)
    assert done.returncode == 1
    assert done.stderr.startswith("failed: learning_rate 1e+30: ")
    assert "1 cells failed. To retry them, run: study run --grid nan.yaml" in done.stdout
    quiet = run(tmp_path, "--quiet", "run", "--grid", "nan.yaml", RAY_ADDRESS=cluster.address)
    assert (quiet.returncode, quiet.stdout) == (1, "")
    assert quiet.stderr.startswith("failed: learning_rate 1e+30: ")
