"""Help fits a terminal, and its examples are commands that work."""

import re
import shlex

import pytest
import typer

from study.cli.app import app
from study.cli.help import EXAMPLES, EXIT_CODES

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
