"""Random options through plan, run and the commands that read: an answer, or one line and exit code 2.

``STUDY_FUZZ=300 pytest tests/study/cli/test_random_options.py`` tries as many; docs/LOG.md has the counts.
"""

import json
import os
import random

import pytest
import ray

SETS = int(os.environ.get("STUDY_FUZZ", "25"))
VALUES = [
    *("0", "1", "2", "-1", "0.5", "1.5", "nan", "inf", "-inf", "1e400", "1000000", str(10**30), "9" * 5000, "banana"),
    *(
        "",
        " ",
        "auto",
        "none",
        "a/b",
        "../x",
        "~nobody/x",
        "s3://",
        "gs:///",
        "ftp://x",
        "://",
        "/dev/null/x",
        "/dev/full",
    ),
    *("[old]", "a[/b]", ":cat:", "=1+1", "\x1b[2J", "ü–…", "\udcff", "x" * 300, "smoke", "table1", "made", "--", "-"),
]
OPTIONS = {
    "plan": ["--name", "--storage", "--seeds", "--cpus-per-trial", "--gpus-per-trial", "--cells-per-trial", "--data",
             "--scheduler", "--nodes", "--cpus", "--gpus", "--price", "--cpus-per-seed", "--gpus-per-seed"],
    "run": ["--name", "--storage", "--seeds", "--data-dir", "--retries", "--epoch-limit", "--cpus-per-trial"],
    "list": ["--storage"],
    "status": ["--storage"],
    "export": ["--storage", "--out"],
    "archive": ["--storage", "--out"],
    "grids show": [],
}  # fmt: skip
FIRST = {"plan": ["--grid", "smoke"], "run": ["--grid", "smoke"], "list": []}


@pytest.mark.parametrize("number", range(SETS))
def test_random_options_are_answered_or_refused_in_one_line(study, tmp_path, monkeypatch, number):
    def no_ray(*arguments, **how):
        raise Exception("no Ray in this test")

    monkeypatch.setattr(ray, "init", no_ray)
    draw = random.Random(number)
    command = draw.choice(list(OPTIONS))
    chosen = draw.sample(OPTIONS[command], min(len(OPTIONS[command]), draw.randint(1, 3)))
    given = [f"{flag}={draw.choice(VALUES)}" for flag in chosen]
    arguments = [*command.split(), *FIRST.get(command, [draw.choice(VALUES)]), *given]
    as_json = command in ("plan", "list", "status") and draw.random() < 0.5
    code, out, errors = study(*arguments, *(["--json"] if as_json else []))
    assert code in (0, 2), arguments
    assert "\x1b" not in out + errors
    if code == 2:
        assert errors.startswith("study: "), arguments
        assert errors.count("\n") == 1, arguments
        assert len(errors) < 700, arguments
    elif as_json:
        json.loads(out)
    assert not list(tmp_path.rglob("study.json")), arguments
