"""The examples whose models are functions: all run by one program, with few seeds and epochs."""

import importlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from trainables import get_random_states, set_random_states
from trainables.functions.function_training import FunctionTraining
from trainables.functions.seed_training import Limits, SeedTraining

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SMALL = {  # the epochs of each, and fewer values of its factors
    "boosting": (6, {"subsample": [1], "learning_rate": [0.1, 0.01]}),
    "pytorch_loop": (2, {"augment": [True], "weight_decay": [0.005]}),
    "lightning_callback": (2, {"optimizer": ["adamw"], "learning_rate": [0.1]}),
    "two_models": (2, {"train_people": [50], "learning_rate": [0.01]}),
}
PROGRAM = """
import sys
import study
from study.grid.load import load_grid

for name in sys.argv[3:]:
    load_grid(f"{sys.argv[2]}/{name}.yaml")
    study.run(f"{name}.yaml", seeds=2, address=sys.argv[1], cpus_per_trial=2)
"""
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

OTHERS_WARN = pytest.mark.filterwarnings("ignore")  # Lightning: of its own loaders, and of what PyTorch deprecates


@pytest.fixture(scope="module")
def studies(tmp_path_factory, cluster):
    """The folder in which the examples have run."""
    folder = tmp_path_factory.mktemp("examples")
    for name, (epochs, fewer) in SMALL.items():
        shutil.copy(EXAMPLES / f"{name}.py", folder)
        grid = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
        grid["protocol"]["max_epochs"] = epochs
        grid["stopping"]["grace_period"] = 1
        grid.pop("contrasts")  # of cells that are left out
        for factor, values in fewer.items():
            grid["factors"][factor]["values"] = values
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("STUDY_", "RAY_"))}
    command = [sys.executable, "-c", PROGRAM, cluster.address, str(EXAMPLES), *SMALL]
    run = subprocess.run(
        command,
        cwd=folder,
        env=variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "studies"


@pytest.fixture
def example(monkeypatch):
    """Import an example as a program in its folder does."""
    monkeypatch.syspath_prepend(EXAMPLES)
    before = get_random_states()
    yield importlib.import_module
    set_random_states(before)


def read(studies, name, rows="trials"):
    return pd.read_parquet(studies / name / rows)


@pytest.mark.parametrize(
    ("name", "figures", "losses"),
    [
        ("pytorch-loop", ["test_accuracy", "test_f1"], ["train_loss", "val_loss", "learning_rate"]),
        ("lightning-callback", ["test_auc", "test_f1", "test_accuracy"], ["train_loss", "val_loss"]),
        ("two-models", ["test_rmse", "best_val_rmse"], []),
    ],
)
def test_each_seed_of_both_cells_has_a_row_with_all_figures(studies, name, figures, losses):
    trials = read(studies, name)
    assert len(trials) == 2 * 2
    assert set(trials["status"]) == {"completed"}
    assert trials[figures].notna().all(axis=None)
    epochs = read(studies, name, "epochs")
    assert len(epochs) == 2 * 2 * 2
    assert epochs[losses].notna().all(axis=None)


def test_early_stopping_prunes_the_cells_with_the_larger_error(studies):
    trials = read(studies, "boosting")
    assert set(trials["status"]) == {"completed", "pruned"}
    means = read(studies, "boosting", "epochs").groupby(["cell_id", "epoch"])["val_rmse"].mean()
    completed = trials[trials["status"] == "completed"].drop_duplicates("cell_id").set_index("max_depth")["cell_id"]
    for pruned in trials[trials["status"] == "pruned"].drop_duplicates("cell_id").to_dict("records"):
        rivals = completed.loc[[pruned["max_depth"]]]
        at = pruned["epochs"]
        assert means[pruned["cell_id"], at] > min(means[cell_id, at] for cell_id in rivals)


def test_the_rows_are_what_the_function_yields_without_a_study(studies, example):
    boosting = example("boosting")
    finished = read(studies, "boosting").query("status == 'completed'").iloc[0]
    names = ["max_epochs", *boosting.Settings.model_fields]
    info = yaml.safe_load((studies / "boosting" / "study.json").read_text())
    cell = next(cell for cell in info["cells"] if cell["cell_id"] == finished["cell_id"])
    settings = boosting.Settings(**{name: {**info["protocol"], **cell}[name] for name in names})
    *_, last = boosting.train(settings, finished["seed"])
    for name, value in last.items():
        assert finished[name] == value


def test_models_of_a_grid_share_a_factor_and_keep_their_own_settings(studies):
    trials = read(studies, "two-models")
    assert set(trials["model"]) == {"two_models:boosting", "two_models:network"}
    assert set(trials["train_people"]) == {50}


@OTHERS_WARN
def test_seeds_of_lightning_have_the_same_bits_alone_and_in_turns(example):
    train = example("lightning_callback").train
    cell = example("lightning_callback").Settings(model="lightning_callback:train", max_epochs=3)

    def figures(*seeds):
        limits = Limits("val_auc", 600)
        training = FunctionTraining({(cell.cell_id, seed): SeedTraining(train, cell, seed, limits) for seed in seeds})
        return [record.figures for records in training for record in records if record.seed == 1]

    assert figures(0, 1) == figures(1)


@OTHERS_WARN
def test_a_closed_generator_ends_lightning_and_its_thread(example, monkeypatch):
    module = example("lightning_callback")
    ended = []
    monkeypatch.setattr(
        module.HandOver, "on_exception", lambda *arguments: ended.append(type(arguments[-1])), raising=False
    )
    before = threading.active_count()
    training = module.train(module.Settings(model="lightning_callback:train"), 0)
    assert 0 <= next(training)["val_auc"] <= 1
    assert threading.active_count() == before + 1
    training.close()
    assert ended == [module.TrainingStopped]
    assert threading.active_count() == before


@OTHERS_WARN
def test_what_lightning_raises_is_raised_by_the_generator(example, monkeypatch):
    module = example("lightning_callback")
    monkeypatch.setattr(module.F, "binary_cross_entropy_with_logits", lambda *tensors: torch.zeros(()))
    with pytest.raises(RuntimeError, match="does not require grad"):
        next(module.train(module.Settings(model="lightning_callback:train"), 0))
