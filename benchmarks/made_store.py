"""A store as a large study leaves it, without the training: real cells, schemas and parts, made-up accuracies.

Its cells cross sharing, dropout, learning rate and auxiliary weight; each has ten seeds of eighty epochs. All
numbers come from one generator.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import typer
import yaml
from numpy.typing import NDArray

from study.grid.grid import Grid
from study.grid.load import load_grid
from study.plan.jobs import study_info
from study.store.parts import part_metadata, part_name
from study.store.schema import epochs_schema, trials_schema
from study.store.store import Store
from trainables.digits.network_diagram import describe_network
from trainables.digits.settings import CellConfig

NAME = "made"
SEEDS, LENGTH, PRUNED_AT = range(10), 80, 20  # epochs of a training, and of a pruned one
DROPOUTS = (0.0, 0.5, 0.1, 0.25, 0.75)
# What is shipped comes first, so that the report's claims are measured; the others lie between the ends.
WEIGHTS, WEIGHT_ENDS = (0.0, 1.0, 10.0, 0.1, 100.0, 0.5, 3.0, 1000.0), (0.037, 2300.0)
RATES, RATE_ENDS = (0.001, 0.01), (0.00013, 0.037)
TRIALS_STEP = 2 * len(DROPOUTS) * len(SEEDS) * 5  # at least five weights
AT_ONCE = 50  # cells made as one table
START = datetime(2026, 1, 2, tzinfo=UTC)

Values = NDArray[np.float64]

EPOCHS = epochs_schema(CellConfig())
TRIALS = trials_schema(CellConfig(), {})


def made_grid(trials: int) -> Grid:
    """Return a grid of so many trials, a multiple of TRIALS_STEP, with about as many rates as weights."""
    if trials < 1 or trials % TRIALS_STEP:
        raise ValueError(f"{trials} trials: expected a multiple of {TRIALS_STEP}")
    tuned = trials // (2 * len(DROPOUTS) * len(SEEDS))
    rates = next(count for count in range(isqrt(tuned), 0, -1) if tuned % count == 0)
    shipped = [contrast.model_dump() for contrast in load_grid("full").contrasts]
    return Grid.model_validate(
        {
            "name": NAME,
            "description": "What a large study looks like.",
            "seeds": len(SEEDS),
            "factors": {
                "sharing": {"role": "scientific", "values": [False, True]},
                "dropout": {"role": "scientific", "values": list(DROPOUTS)},
                "learning_rate": {"role": "tuned", "values": _values(rates, RATES, RATE_ENDS)},
                "aux_weight": {"role": "tuned", "values": _values(tuned // rates, WEIGHTS, WEIGHT_ENDS)},
            },
            "stopping": {"scheduler": "none"},
            "contrasts": [c for c in shipped if not any("model" in cell for cell in (*c["plus"], *c["minus"]))],
        }
    )


def _values(count: int, shipped: Sequence[float], ends: tuple[float, float]) -> list[float]:
    between = np.geomspace(*ends, max(0, count - len(shipped)))
    return [*shipped[:count], *(float(f"{value:.4g}") for value in between)]


def write_grid(grid: Grid, path: Path) -> None:
    """Write a grid as a file that ``--grid`` reads."""
    path.write_text(yaml.safe_dump(grid.model_dump(by_alias=True), sort_keys=False))


def make_store(storage: str, grid: Grid, pruned: float = 0.0, seed: int = 0) -> Store:
    """Write the study NAME of a grid; the share ``pruned`` of its cells ended early.

    The same seed gives the same rows.
    """
    cells, store = grid.cells(), Store(storage, NAME)
    networks = [describe_network(CellConfig(sharing=sharing)) for sharing in (False, True)]
    runs = [{"started_at": START.isoformat(), "device": "none: made by benchmarks/made_store.py"}]
    store.write_info(replace(study_info(NAME, grid, cells, SEEDS, None), networks=tuple(networks), runs=tuple(runs)))
    luck = np.random.default_rng(seed).normal(0, 0.008, len(SEEDS))  # seeds pair across cells

    def write(first: int) -> None:
        rng = np.random.default_rng((seed, first))
        _write_cells(store, cells[first : first + AT_ONCE], luck, pruned, rng)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(0, len(cells), AT_ONCE)))
    return store


def _write_cells(
    store: Store, cells: Sequence[CellConfig], luck: Values, pruned: float, rng: np.random.Generator
) -> None:
    curves = _curves(cells, luck, rng)
    ended_early = rng.random(len(cells)) < pruned
    trial_ids = [cell.trial_id(seed) for cell in cells for seed in SEEDS]
    epochs = _epochs_table(cells, trial_ids, curves)
    for index, cell in enumerate(cells):
        length = PRUNED_AT if ended_early[index] else LENGTH
        curve = {name: values[index, :, :length] for name, values in curves.items()}
        ids = trial_ids[index * len(SEEDS) : (index + 1) * len(SEEDS)]
        own = epochs.slice(index * len(ids) * LENGTH, len(ids) * LENGTH)
        if ended_early[index]:
            own = own.filter(np.tile(np.arange(LENGTH) < length, len(ids)))
        name = part_name(cell.cell_id, ids, "-pruned" if ended_early[index] else "")
        metadata = part_metadata(cell)
        trials = _trials_table(cell, ids, curve, ended_early[index])
        store.parts.write(name, trials.replace_schema_metadata(metadata), own.replace_schema_metadata(metadata))


def _curves(cells: Sequence[CellConfig], luck: Values, rng: np.random.Generator) -> dict[str, Values]:
    """Return the columns of ``epochs`` that are numbers, and train_ metrics, by epoch: ``[cells, seeds, epochs]``."""
    shape = (len(cells), len(SEEDS), LENGTH)
    sharing, dropout, weight, rate = (
        np.array([getattr(cell, name) for cell in cells], float)[:, None, None]
        for name in ("sharing", "dropout", "aux_weight", "learning_rate")
    )
    epoch = np.arange(1, LENGTH + 1)
    best = 0.8 + 0.03 * sharing + 0.05 * weight / (weight + 3) + 0.15 * dropout * (0.8 - dropout)
    best = best - 0.02 * np.log10(rate / 0.005) ** 2
    best = best + rng.normal(0, 0.003, (len(cells), 1, 1)) + luck[:, None] + rng.normal(0, 0.008, (*shape[:2], 1))
    learned = 1 - np.exp(-epoch / (4 * (0.01 / rate) ** 0.4))
    accuracy = 0.5 + (best - 0.5) * learned
    overfitted = 0.002 * np.maximum(0, epoch - rng.integers(25, LENGTH, (*shape[:2], 1)))
    plateaus = (epoch[:, None] > rng.integers(25, 2 * LENGTH, (*shape[:2], 1, 2))).sum(axis=-1)

    def counted(mean: Values, of: int) -> Values:
        return np.clip(np.round(of * (mean + rng.normal(0, 0.5 / of**0.5, shape))), 0, of) / of

    return {
        "learning_rate": rate * 0.2**plateaus,
        "train_loss": 0.7 * np.exp(-epoch / 25) + np.abs(rng.normal(0, 0.01, shape)),
        "val_loss": 1.8 * (1 - accuracy) + overfitted + np.abs(rng.normal(0, 0.01, shape)),
        "val_accuracy": counted(accuracy, 200),
        "test_accuracy": counted(accuracy, 1000),
        "test_digit_accuracy": counted(0.1 + 0.85 * learned, 2000),
        "train_accuracy": counted(0.5 + 0.49 * learned, 800),
        "train_digit_accuracy": counted(0.1 + 0.88 * learned, 1600),
    }


def _epochs_table(cells: Sequence[CellConfig], trial_ids: Sequence[str], curves: dict[str, Values]) -> pa.Table:
    """Return the rows of all cells, cell by cell, seed by seed."""
    columns: dict[str, Any] = {
        "cell_id": _repeated([cell.cell_id for cell in cells], len(SEEDS) * LENGTH),
        "trial_id": _repeated(trial_ids, LENGTH),
        "seed": np.tile(np.repeat(SEEDS, LENGTH), len(cells)),
        "epoch": np.tile(np.arange(1, LENGTH + 1), len(trial_ids)),
    }
    columns |= {name: curves[name].ravel() for name in EPOCHS.names if name not in columns}
    return pa.table({name: pa.array(columns[name], EPOCHS.field(name).type) for name in EPOCHS.names}, EPOCHS)


def _repeated(texts: Sequence[str], times: int) -> pa.Array:
    indices = np.repeat(np.arange(len(texts), dtype=np.int32), times)
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts)).cast(pa.string())


def _trials_table(cell: CellConfig, ids: Sequence[str], curve: dict[str, Values], pruned: bool) -> pa.Table:
    """Return the rows of a cell whose curves ``[seeds, epochs]`` have ended, as ``study.rows`` would."""
    best = curve["val_loss"].argmin(axis=1)
    row: dict[str, Any] = {name: getattr(cell, name, None) for name in TRIALS.names}
    row |= {"study": NAME, "status": "pruned" if pruned else "completed", "epochs": curve["val_loss"].shape[1]}
    row |= {"train_time_s": 0.4 * row["epochs"], "device": "cpu", "error": None}
    row |= {"started_at": START, "finished_at": START + timedelta(seconds=4 * row["epochs"])}
    columns: dict[str, Any] = {name: [value] * len(ids) for name, value in row.items()}
    columns |= {"trial_id": list(ids), "seed": list(SEEDS), "best_epoch": best + 1}
    for name in ("val_loss", *cell.trial_figures()):
        if name.startswith("best_"):
            of_epochs = curve[name.removeprefix("best_")]
            columns[name] = np.take_along_axis(of_epochs, best[:, None], axis=1)[:, 0]
        elif name in curve and not (pruned and name.startswith("train_")):
            columns[name] = curve[name][:, -1]
    columns["test_accuracy_by_probability"] = columns["test_accuracy"]
    return pa.table({name: pa.array(columns[name], TRIALS.field(name).type) for name in TRIALS.names}, TRIALS)


def main(trials: int, storage: Path, pruned: float = 0.0, seed: int = 0) -> None:
    """Make the study NAME of so many trials in a storage, and beside it the file of its grid."""
    grid = made_grid(trials)
    storage.mkdir(parents=True, exist_ok=True)
    write_grid(grid, storage / f"{NAME}.yaml")
    make_store(str(storage), grid, pruned, seed)


if __name__ == "__main__":
    typer.run(main)
