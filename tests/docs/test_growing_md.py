"""The blocks of docs/growing.md, in their order: files are written, commands and code are run."""

import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
TEXT = (Path(__file__).parents[2] / "docs" / "growing.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_every_block_runs_and_does_what_the_page_says(tmp_path, environment):
    said = {}
    for kind, block in BLOCKS:
        if kind == "yaml":
            Path(tmp_path, block.split()[1]).write_text(block)
            continue
        lines = [["python", "-c", block]] if kind == "python" else [["bash", "-c", line] for line in block.splitlines()]
        for command in lines:
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
            said[command[-1]] = done.stdout
    assert {kind for kind, _ in BLOCKS} == {"yaml", "bash", "python"}
    assert "4 completed; 2 trials of 2 cells to train" in said["study run --grid weights.yaml --seeds 3"]
    assert "6 completed; 12 trials of 4 cells to train" in said["study run --grid larger.yaml --name weights"]
    assert "weights: 18 trials added" in said["study merge weights laptop/weights --into all"]
    assert (
        "laptop/weights: 2 trials added, 6 were there already" in said["study merge weights laptop/weights --into all"]
    )
    assert "All of the 6 trials in both have the same bits" in said["study diff weights laptop/weights"]
    assert "all in studies: 20 trials (20 finished)" in said["study remove all --yes"]
    assert "Restored all in studies: 20 trials (20 finished)" in said["study restore all.tar.gz"]

    trials = pd.read_csv(tmp_path / "all.csv")
    assert trials.groupby(["aux_weight", "batch_size"]).size().to_dict() == {
        (0, 100): 3,
        (0, 200): 4,
        (1, 100): 3,
        (1, 200): 3,
        (10, 100): 3,
        (10, 200): 4,
    }
    assert len(json.loads((tmp_path / "difference.json").read_text())["cells"]) == 6
    effects = pd.read_csv(tmp_path / "reports" / "weights" / "effects.csv").set_index("factor")
    pairs = trials[trials["seed"] < 3].pivot(index=["aux_weight", "seed"], columns="batch_size", values="test_accuracy")
    assert effects.loc["batch_size", "mean"] == pytest.approx((pairs[200] - pairs[100]).mean())
