"""A study as two data frames, read from its study.json and Parquet parts in any storage that pyarrow.fs can reach."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

SCHEMA_VERSION = 1
FINISHED = ("completed", "converged")
# Where a trial has rows in several parts, the one with the lowest rank counts.
RANK = {"completed": 0, "converged": 0, "pruned": 1, "failed": 2}
SETTINGS = ("model", "sharing", "aux_weight", "dropout", "learning_rate")
# What a trial's row says of when and where it was trained; two trainings with the same bits differ in nothing else.
CIRCUMSTANCES = {"study", "device", "error", "train_time_s", "started_at", "finished_at"}
# What the analysis cannot do without.
COLUMNS = {
    "trials": {"cell_id", "trial_id", "seed", "status", "epochs", "val_accuracy", "test_accuracy", "error"},
    "epochs": {"trial_id", "epoch"},
}
CONFIRMATION = "-confirm"  # ends the name of a confirmation
READERS = 16  # parts are small files: reading them is waiting, above all for an object store


class AnalysisError(Exception):
    """A study that cannot be analysed as asked: one line with what is wrong, what was expected, and the fix."""


@dataclass(frozen=True)
class StudyData:
    """What a study has: ``info`` is study.json; ``trials`` has one row a trial, ``epochs`` one a trial and epoch.

    ``unreadable`` names the Parquet files, relative to the study's folder, that could not be read and are left out.
    """

    name: str
    info: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    unreadable: tuple[str, ...]


def load_study(storage: str, name: str) -> StudyData:
    """Read a study from a storage, a path or a URI such as ``s3://bucket/studies``.

    Raises AnalysisError for a storage that cannot be read, an unknown study, a study.json that is not one of this
    schema, and a study without a finished trial.
    """
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        known = [info.base_name for info in _studies(filesystem, root, storage)]
        if name not in known:
            raise AnalysisError(f"no study {name!r} in {storage}: expected one of {', '.join(known)}")
        info = _read_info(filesystem, f"{root}/{name}/study.json")
        trials, epochs, unreadable = _read_parts(filesystem, f"{root}/{name}")
    finished = trials["status"].isin(FINISHED).sum() if len(trials) else 0
    if not finished:
        damaged = f" and {len(unreadable)} files cannot be read" if unreadable else ""
        raise AnalysisError(
            f"study {name!r} in {storage} has no finished trial of {len(info['cells']) * len(info['seeds'])}{damaged}; "
            f"run it on: study run --grid {info['grid']} --name {name} --storage {storage}"
        )
    return StudyData(name, info, trials, epochs, unreadable)


def companions(storage: str, data: StudyData) -> dict[str, StudyData]:
    """Return the studies of the storage that belong to a study's report, where they have a finished trial.

    ``confirmation``, named NAME-confirm, re-trained its chosen cells; ``dropout-or-rate`` is the study of that grid on
    the same data, by the name that a run gives it.
    """
    source = data.info["protocol"].get("data", "mnist5k")
    crossing = "dropout-or-rate" if source == "mnist5k" else f"dropout-or-rate-{source}"
    filesystem, root = _filesystem(storage)
    found = {}
    with _explained(storage):
        known = [info.base_name for info in _studies(filesystem, root, storage)]
        for what, name in (("confirmation", f"{data.name}{CONFIRMATION}"), ("dropout-or-rate", crossing)):
            if name in known:
                info = _read_info(filesystem, f"{root}/{name}/study.json")
                trials, epochs, unreadable = _read_parts(filesystem, f"{root}/{name}")
                if trials["status"].isin(FINISHED).any():
                    found[what] = StudyData(name, info, trials, epochs, unreadable)
    return found


def latest_study(storage: str) -> str:
    """Return the name of the study whose study.json changed last, confirmations aside; raise AnalysisError for none."""
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        studies = _studies(filesystem, root, storage)
    chosen = [study for study in studies if not study.base_name.endswith(CONFIRMATION)] or studies
    return max(chosen, key=lambda study: study.mtime_ns).base_name


@dataclass(frozen=True)
class _StudyFile:
    base_name: str
    mtime_ns: int


def _filesystem(storage: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in storage:
        return pafs.LocalFileSystem(), str(Path(storage).expanduser().absolute())
    with _explained(storage):
        filesystem, path = pafs.FileSystem.from_uri(storage)
    return filesystem, str(path).rstrip("/")


@contextmanager
def _explained(storage: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise AnalysisError(
            f"cannot read the storage {storage}: {error}; expected a folder, or a URI such as s3://bucket/studies"
        ) from None


def _studies(filesystem: pafs.FileSystem, root: str, storage: str) -> list[_StudyFile]:
    """Return the studies of a storage in alphabetical order, at least one."""
    folders = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    files = filesystem.get_file_info([f"{folder.path}/study.json" for folder in folders])
    found = [
        _StudyFile(folder.base_name, file.mtime_ns or 0)
        for folder, file in zip(folders, files, strict=True)
        if file.type == pafs.FileType.File
    ]
    if not found:
        raise AnalysisError(
            f"no study in {storage}: expected what a run leaves there; "
            f"run one: study run --grid table1 --storage {storage}"
        )
    return sorted(found, key=lambda study: study.base_name)


def _read_info(filesystem: pafs.FileSystem, path: str) -> dict[str, Any]:
    with filesystem.open_input_stream(path) as stream:
        text = stream.read()
    try:
        info = json.loads(text)
        if info["schema"] != SCHEMA_VERSION:
            raise AnalysisError(
                f"{path} has schema {info['schema']!r}, expected {SCHEMA_VERSION}; "
                "analyse it with the version of this program that wrote it"
            )
        kinds = {"grid": str, "roles": dict, "cells": list, "seeds": list, "protocol": dict, "runs": list}
        for key, kind in kinds.items():
            if not isinstance(info[key], kind):
                raise TypeError(f"{key} is {info[key]!r}, expected a {kind.__name__}")
        for cell in info["cells"]:
            for setting in ("cell_id", *SETTINGS, *info["roles"]):
                cell[setting]
    except (ValueError, KeyError, TypeError) as error:
        raise AnalysisError(
            f"{path} is not a study's ({type(error).__name__}: {error}), expected what a run writes; "
            "restore it, or run the study under another --name"
        ) from None
    return dict(info)


def _read_parts(filesystem: pafs.FileSystem, folder: str) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return trials, epochs and the names of unreadable files.

    A part counts only if its trials file is there; its epochs file is written first, so one alone is a crash's.
    """
    listed = filesystem.get_file_info(pafs.FileSelector(f"{folder}/trials", allow_not_found=True))
    names = sorted(info.base_name for info in listed)
    names = [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
    trials, unreadable_trials = _read_files(filesystem, folder, "trials", names)
    trials["rank"] = trials["status"].map(RANK)
    trials = trials.sort_values("rank", kind="stable").drop_duplicates("trial_id").drop(columns="rank")
    readable = [name for name in names if f"trials/{name}" not in unreadable_trials]
    epochs, unreadable_epochs = _read_files(filesystem, folder, "epochs", readable)
    # The epochs of a superseded try are in another part than the trial's row.
    epochs = epochs.merge(trials[["part", "trial_id"]])
    unreadable = (*unreadable_trials, *unreadable_epochs)
    return trials.drop(columns="part").reset_index(drop=True), epochs.drop(columns="part"), unreadable


def _read_files(
    filesystem: pafs.FileSystem, folder: str, kind: str, names: list[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows of all files, with the file's name in the column ``part``, and which files are unreadable."""

    def read(name: str) -> pa.Table | None:
        try:
            with pq.ParquetFile(f"{folder}/{kind}/{name}", filesystem=filesystem) as file:
                table = file.read(use_threads=False)
        except (pa.ArrowException, OSError):
            return None
        if not COLUMNS[kind] <= set(table.column_names):
            return None
        return table.append_column("part", pa.array([name] * len(table), pa.string()))

    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(read, names))
    none = pa.schema(dict.fromkeys(("trial_id", "status", "part"), pa.string())).empty_table()
    read_tables = [table for table in tables if table is not None]
    try:
        rows = pa.concat_tables([*read_tables, none], promote_options="permissive")
    except pa.ArrowException as error:
        raise AnalysisError(f"the files of {folder}/{kind} disagree: {error}; keep one layout in a study") from None
    return rows.to_pandas(ignore_metadata=True), tuple(
        f"{kind}/{name}" for name, table in zip(names, tables, strict=True) if table is None
    )
