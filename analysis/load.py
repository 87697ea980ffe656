"""A study as it lies in a storage: study.json, one row a trial, one row a trial and epoch. Reads only."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

SCHEMA_VERSION = 1
SETTINGS = ("model", "sharing", "aux_weight", "dropout", "learning_rate")
ACCURACIES = ("val_accuracy", "test_accuracy", "test_digit_accuracy", "best_test_accuracy")
FINISHED = ("completed", "converged")
# Where a trial has rows in several parts, the one with the lowest rank counts.
RANK = {"completed": 0, "converged": 0, "pruned": 1, "failed": 2}
TRIAL_COLUMNS = frozenset({"cell_id", "trial_id", "seed", "status", "epochs", *SETTINGS, *ACCURACIES})
EPOCH_COLUMNS = (
    "cell_id",
    "trial_id",
    "seed",
    "epoch",
    "learning_rate",
    "train_loss",
    "val_loss",
    *ACCURACIES[:3],
)
# Small files are bound by latency: in a bucket a read waits for the network, not for a core.
READERS = 16


class AnalysisError(Exception):
    """Results that cannot be used as asked: one line with the value, what was expected, and the fix."""


@dataclass(frozen=True)
class StudyData:
    """All that is known of a study.

    ``info`` is study.json. ``trials`` has one row a trial and ``epochs`` one a trial and epoch, with the store's
    columns, of the parts that count. ``unreadable`` names damaged or missing files: ``trials/xyz.parquet``.
    """

    name: str
    info: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    unreadable: tuple[str, ...]


def load_study(storage: str, name: str) -> StudyData:
    """Read a study from a storage: a path, or a URI of pyarrow.fs.

    Raise AnalysisError where there is no such study, no trial in it yet, or no study.json that can be understood.
    """
    filesystem, root = _filesystem_of(storage)
    names = sorted(_modified(filesystem, root, storage))
    if name not in names:
        there = f"there are: {', '.join(names)}" if names else _how_to_begin(storage)
        raise AnalysisError(f"no study {name!r} in {storage}; {there}")
    folder = f"{root}/{name}"
    info = _read_info(filesystem, f"{folder}/study.json")
    parts = _part_names(filesystem, f"{folder}/trials")
    trials, bad_trials = _read_parts(filesystem, folder, "trials", parts, TRIAL_COLUMNS)
    if trials.empty:
        damaged = f" ({len(bad_trials)} unreadable files, {bad_trials[0]} first)" if bad_trials else ""
        again = f"study run --grid {info['grid']} --name {name}"
        raise AnalysisError(f"study {name!r} in {storage} has no trials yet{damaged}; go on with: {again}")
    readable = [part for part in parts if f"trials/{part}" not in bad_trials]
    epochs, bad_epochs = _read_parts(filesystem, folder, "epochs", readable, frozenset(EPOCH_COLUMNS))
    trials, epochs = _one_row_a_trial(trials, epochs)
    return StudyData(name, info, trials, epochs, (*bad_trials, *bad_epochs))


def latest_study(storage: str) -> str:
    """Return the study whose study.json was written last; raise AnalysisError when there is none."""
    filesystem, root = _filesystem_of(storage)
    modified = _modified(filesystem, root, storage)
    if not modified:
        raise AnalysisError(_how_to_begin(storage))
    return max(modified, key=lambda name: (modified[name], name))


def _how_to_begin(storage: str) -> str:
    return f"no studies in {storage}; run one with: study run --grid table1"


def _filesystem_of(storage: str) -> tuple[Any, str]:
    """Return the filesystem of a path or URI, and the path in it."""
    if "://" not in storage:
        return pafs.LocalFileSystem(), str(Path(storage).expanduser().absolute())
    try:
        filesystem, path = pafs.FileSystem.from_uri(storage)
    except (pa.ArrowInvalid, OSError) as error:
        raise AnalysisError(f"storage {storage}: {error}; expected a folder or a URI such as s3://bucket/dir") from None
    return filesystem, str(path).rstrip("/")


def _modified(filesystem: Any, root: str, storage: str) -> dict[str, int]:
    """Return for each study when its study.json was written, in nanoseconds (0 where unknown)."""
    try:
        found = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        folders = [info for info in found if info.type == pafs.FileType.Directory and _is_shown(info.base_name)]
        infos = filesystem.get_file_info([f"{folder.path}/study.json" for folder in folders])
    except OSError as error:
        raise AnalysisError(f"cannot read the storage {storage}: {error}; give another with --storage") from None
    return {
        folder.base_name: info.mtime_ns or 0
        for folder, info in zip(folders, infos, strict=True)
        if info.type == pafs.FileType.File
    }


def _is_shown(name: str) -> bool:
    return not name.startswith(".")


def _read_info(filesystem: Any, path: str) -> dict[str, Any]:
    """Return the content of a study.json, checked as far as the analysis depends on it."""
    fix = "restore it, or run the study under another --name"
    try:
        with filesystem.open_input_stream(path) as stream:
            info = json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise AnalysisError(f"cannot read {path}: {error}; {fix}") from None
    version = info.get("schema") if isinstance(info, dict) else None
    if version != SCHEMA_VERSION:
        raise AnalysisError(f"{path} has schema {version!r}, expected {SCHEMA_VERSION}; {fix}")
    kinds = {"grid": str, "roles": dict, "cells": list, "seeds": list, "protocol": dict, "runs": list}
    for key, kind in kinds.items():
        if not isinstance(info.get(key), kind):
            raise AnalysisError(f"{path}: {key} is {info.get(key)!r}, expected a {kind.__name__}; {fix}")
    for cell in info["cells"]:
        missing = [key for key in ("cell_id", *SETTINGS) if not isinstance(cell, dict) or key not in cell]
        if missing:
            raise AnalysisError(f"{path}: a cell without {', '.join(missing)}; {fix}")
    return dict(info)


def _part_names(filesystem: Any, folder: str) -> list[str]:
    try:
        infos = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    except OSError as error:
        raise AnalysisError(f"cannot read {folder}: {error}; give another storage with --storage") from None
    names = (info.base_name for info in infos if info.type == pafs.FileType.File)
    return sorted(name for name in names if name.endswith(".parquet") and _is_shown(name))


def _read_parts(
    filesystem: Any, folder: str, kind: str, parts: Sequence[str], columns: frozenset[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of all readable parts, with the part's name as ``part``, and the other files' names."""

    def read(part: str) -> pa.Table | None:
        try:
            with filesystem.open_input_file(f"{folder}/{kind}/{part}") as file:
                table = pq.ParquetFile(file).read(use_threads=False)
        # What a damaged file raises depends on where it is damaged: footer, page header or compressed page.
        except (OSError, ValueError, pa.ArrowException):
            return None
        if not columns <= set(table.column_names):
            return None
        return table.append_column("part", pa.array([part] * len(table), pa.string()))

    with ThreadPoolExecutor(READERS) as pool:
        tables = dict(zip(parts, pool.map(read, parts), strict=True))
    unreadable = [f"{kind}/{part}" for part, table in tables.items() if table is None]
    readable = [table for table in tables.values() if table is not None]
    if not readable:
        return pd.DataFrame(columns=sorted({*columns, "part"})), unreadable
    try:
        frame = pa.concat_tables(readable, promote_options="permissive").to_pandas()
    except pa.ArrowException as error:
        raise AnalysisError(f"the files of {folder}/{kind} disagree: {error}; keep one layout in a study") from None
    return frame, unreadable


def _one_row_a_trial(trials: pd.DataFrame, epochs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep of each trial the row that counts, and the epochs of the same part; drop ``part``."""
    rank = trials["status"].map(RANK).fillna(len(RANK))
    best = trials.assign(rank=rank).sort_values(["rank", "part"], kind="stable").drop_duplicates("trial_id")
    best = best.sort_values(["cell_id", "seed"], kind="stable", ignore_index=True)
    kept = epochs.merge(best[["part", "trial_id"]], on=["part", "trial_id"])
    kept = kept.sort_values(["cell_id", "seed", "epoch"], kind="stable", ignore_index=True)
    return best.drop(columns=["rank", "part"]), kept.drop(columns="part")
