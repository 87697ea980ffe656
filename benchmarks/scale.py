"""What a study costs beside the training: time, memory, files and resuming, as it grows.

    python -m benchmarks.scale --cells 1000 --cells 10000

It runs studies of many cells by the code of ``study run``. The trainable does not train: it makes up two epochs of
ten seeds.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer
from rich.console import Console
from rich.table import Table

from study.console import PlainConsole
from study.driver.session import train
from study.grid.grid import Grid
from study.plan.jobs import plan_run, study_info
from study.plan.resources import Resources
from study.plan.run_options import TrainingOptions, Work
from study.store.store import Store
from trainables.digits.settings import CellConfig
from trainables.engine.record import EpochRecord, Status
from trainables.identity import code_id
from trainables.tune_cell import PackTrainable

SEEDS, EPOCHS = range(10), 2


class IdleTrainable(PackTrainable):
    """Reports the epochs of cells without training."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin a pack."""
        self.reset_config(config)

    def cleanup(self) -> None:
        """End nothing."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another pack."""
        self._seeds = {CellConfig.model_validate(part["cell"]).cell_id: part["seeds"] for part in new_config["cells"]}
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """Make up an epoch."""
        self._epoch += 1
        done = self._epoch == EPOCHS
        figures = ("learning_rate", "train_loss", "val_loss", *CellConfig.epoch_figures(), *CellConfig.trial_figures())
        values = dict.fromkeys(figures, 0.5)
        report = {"epoch": self._epoch, "objective": 0.5, "ended": done, "code_id": code_id("comparator")}
        status: Status = "completed" if done else "running"
        cells = []
        for cell_id, seeds in self._seeds.items():
            records = [asdict(EpochRecord(cell_id, seed, self._epoch, values, 0.5, status)) for seed in seeds]
            cells.append(report | {"cell_id": cell_id, "records": records})
        return {"epoch": self._epoch, "cells": cells, "done": done}


def measure(cells: int, folder: str) -> dict[str, float]:
    """Run a study of so many cells in a folder, and measure what it took."""
    grid = Grid.model_validate(
        {
            "name": "scale",
            "description": "Made.",
            "seeds": len(SEEDS),
            "factors": {"aux_weight": {"role": "tuned", "values": [number / 1000 for number in range(cells)]}},
            "stopping": {"scheduler": "none"},
        }
    )
    configs = grid.cells()
    store = Store(folder, "scale")
    info = study_info("scale", grid, configs, SEEDS, None)
    work = Work(grid, configs, SEEDS, "none", store, info, again=lambda: work)
    resources = Resources(TrainingOptions(gpus_per_trial=0))
    began = time.perf_counter()
    with mock.patch("study.driver.tune_run.PackTrainable", IdleTrainable):
        train(work, resources, PlainConsole(quiet=True), "")
    run_s = time.perf_counter() - began
    began = time.perf_counter()
    again = Store(folder, "scale")
    again.repair()
    assert not plan_run(work, again.read_trials()[0]).jobs, "cells are missing"
    resume_s = time.perf_counter() - began
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {
        "cells": cells,
        "run_s": run_s,
        "cell_ms": 1000 * run_s / cells,
        "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "files": len(files),
        "store_mb": sum(path.stat().st_size for path in files) / 2**20,
        "resume_s": resume_s,
    }


def main(
    cells: Annotated[list[int], typer.Option(help="How many cells the study has; may be given more than once.")],
) -> None:
    """Measure studies of these sizes, each in a process of its own."""
    table = Table("cells", "run s", "ms per cell", "driver MB", "files", "store MB", "resume s", box=None)
    for number in cells:
        with tempfile.TemporaryDirectory() as folder:
            code = f"import json, benchmarks.scale as s; print(json.dumps(s.measure({number}, {folder!r})))"
            run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(run.stdout.splitlines()[-1])
        table.add_row(*(f"{value:.0f}" if value >= 100 else f"{value:.1f}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
