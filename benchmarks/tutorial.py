"""The study as Ray Tune's tutorial would write it: a function trainable, one Tune trial per cell and seed.

    python -m benchmarks.tutorial --epochs 20 --seeds 10 results.csv

benchmarks/study.py compares it with `study run`: the same cells, seeds, pairs, epochs and evaluations.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import ray
import torch
import typer
from ray import tune

from benchmarks.plain import BATCH, PlainComparator, evaluate, loss_of
from trainables.digits.mnist import load_pool
from trainables.digits.pairs import draw_split

AUX_WEIGHTS, DROPOUTS = (0.0, 10.0), (0.0, 0.5)
SIZES = (1000, 1000, 0.2)  # pairs to train on and to test on, share of the first that validates: the report's


def train(config: dict[str, Any]) -> None:
    """Train one seed of one cell, and report every epoch."""
    torch.manual_seed(config["seed"])
    split = draw_split(load_pool("mnist5k"), config["seed"], *SIZES)
    model = PlainComparator(sharing=True, dropout=config["dropout"])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    pairs, target = split.train, split.train.target
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.2, patience=7)
    for _ in range(config["epochs"]):
        model.train()
        for batch in torch.randperm(len(target)).split(BATCH):
            optimiser.zero_grad()
            outputs = model(pairs.images[batch])
            loss_of(outputs, pairs.digits[batch], target[batch], config["aux_weight"]).backward()
            optimiser.step()
        val_loss, val_accuracy = evaluate(model, split.validation, config["aux_weight"])
        _, test_accuracy = evaluate(model, split.test, config["aux_weight"])
        schedule.step(val_loss)
        tune.report({"val_loss": val_loss, "val_accuracy": val_accuracy, "test_accuracy": test_accuracy})


def main(
    out: Annotated[Path, typer.Argument(help="CSV file with the last result of each trial.")],
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    seeds: Annotated[int, typer.Option(min=1)] = 10,
) -> None:
    """Train all cells with all seeds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with ray.init("local", include_dashboard=False, log_to_driver=False):
        space = {
            "aux_weight": tune.grid_search(list(AUX_WEIGHTS)),
            "dropout": tune.grid_search(list(DROPOUTS)),
            "seed": tune.grid_search(list(range(seeds))),
            "epochs": epochs,
        }
        run_config = tune.RunConfig(storage_path=str(out.parent.resolve()), name="tutorial")
        tune.Tuner(train, param_space=space, run_config=run_config).fit().get_dataframe().to_csv(out)


if __name__ == "__main__":
    typer.run(main)
