"""What a shell completes, and how little is imported for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.study.cli.conftest import STUDY, clean

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
