"""Options come from the command line, the environment or study.toml, and say which if they are wrong."""

import json

import pytest
import typer

from study.cli.app import app
from study.cli.parameters import prepare
from trainables.digits.settings import CellConfig


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
        ("seedss = 3", "study.toml: unknown key seedss; did you mean seeds?"),
        ("[run]\nsede = 3", "study.toml: unknown key run.sede; did you mean seeds?"),
        ("[run]\nwatch = true", "study.toml: unknown key run.watch; expected one of address, cells-per-trial, "),
        ("[rum]\nseeds = 3", "study.toml: unknown key rum; did you mean run?"),
        ("run = 3", "study.toml: run is a command; its options go into a table [run]"),
        ("[plan]\nseeds = {a = 3}", "study.toml: plan.seeds is a table; expected the value of --seeds"),
        ("seeds = ", "study.toml cannot be read: Invalid value (at end of document); expected TOML in UTF-8"),
        ('seeds = "many"', "Invalid value for '--seeds': 'many': expected a whole number"),
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
    assert study("plan", "--grid", "smoke", "--seeds", "x")[2].endswith(
        " 'x': expected a whole number. See: study plan --help\n"
    )


def test_every_option_has_its_variable():
    command = typer.main.get_command(app)
    prepare(command)
    options = {p.opts[0]: p.envvar for p in command.commands["run"].params}
    assert options["--grid"] == "STUDY_GRID"
    assert options["--cpus-per-trial"] == "STUDY_CPUS_PER_TRIAL"
    assert {p.envvar for p in command.params} >= {"STUDY_QUIET", "STUDY_VERBOSE", None}  # None: --version


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "study: Missing option '--grid'. See: study run --help\n"),
        (["rnu"], "study: No such command 'rnu'. Did you mean 'run'? See: study --help\n"),
        (["run", "--sede", "3"], "(Possible options: --same-code, --scheduler, --seeds). See: study run --help\n"),
        (["grids", "show", "tabel1"], "study: unknown grid 'tabel1': did you mean table1?\n"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_to_do(study, arguments, message):
    code, out, errors = study(*arguments)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert errors.endswith(message)
