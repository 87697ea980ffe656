"""A study as two data frames, read from its study.json and Parquet parts in any storage that pyarrow.fs can reach."""

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from analysis.stored import CONFIRMATION, FINISHED, RANK, AnalysisError, OtherSchemaError, StudyInfo

SETTINGS = ("model", "sharing", "aux_weight", "dropout", "learning_rate")  # of the cells of the report's networks
# What the analysis cannot do without.
COLUMNS = {
    "trials": {"cell_id", "trial_id", "seed", "status", "epochs", "val_accuracy", "test_accuracy", "error"},
    "epochs": {"trial_id", "epoch"},
}
CURVES = ("cell_id", "trial_id", "seed", "epoch", "val_accuracy")  # what a report reads of epochs
# What no report reads of trials. The other columns are kept, also those of other versions: a column costs as much as
# opening a file, since a part has few rows.
UNREAD = ("study", *SETTINGS, "best_epoch", "val_loss", "best_test_digit_accuracy", "device")
READERS = 16  # parts are small files: reading them is waiting for an object store, and work for a disk


@dataclass(frozen=True, eq=False)
class StudyData:
    """What a study has: ``info`` is study.json; ``trials`` has one row a trial, ``epochs`` one a trial and epoch.

    ``epochs`` has the columns and cells that were asked for. ``unreadable`` names the Parquet files,
    relative to the study's folder, that were wanted and could not be read; they are left out.
    """

    name: str
    info: StudyInfo
    trials: pd.DataFrame
    epochs: pd.DataFrame
    unreadable: tuple[str, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that tables name first: the report's, where the cells have them, and the factors."""
        return tuple(name for name in dict.fromkeys([*SETTINGS, *self.info.roles]) if name in self.info.cells[0])

    @property
    def has_finished(self) -> bool:
        """Whether a trial has finished; without one there is nothing to analyse, and no epochs are read."""
        return bool(self.trials["status"].isin(FINISHED).any())


CellsOf = Callable[[StudyData], Collection[str]]


def every_cell(data: StudyData) -> Collection[str]:
    """Ask for the epochs of all cells."""
    return set(data.trials["cell_id"])


def no_cell(data: StudyData) -> Collection[str]:
    """Ask for no epochs."""
    return ()


def load_study(storage: str, name: str, curves_of: CellsOf = every_cell, for_report: bool = False) -> StudyData:
    """Read a study from a storage, a path or a URI such as ``s3://bucket/studies``.

    ``curves_of`` says of which cells, by their ids, the epochs are read, given the study without epochs: a large study
    has a thousand epochs for each that a report can show. Of all columns, those that a report shows can be had alone.
    Raises AnalysisError for a storage that cannot be read, an unknown study, a study.json that is not one of this
    schema, and a study without a finished trial.
    """
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        known = [info.base_name for info in _studies(filesystem, root, storage)]
        if name not in known:
            near = get_close_matches(name, known, n=1)
            fix = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise AnalysisError(f"no study {name!r} in {storage}: {fix}")
        data = _read_study(filesystem, root, name, curves_of, for_report)
    if not data.has_finished:
        damaged = f" and {len(data.unreadable)} files cannot be read" if data.unreadable else ""
        planned = data.info.planned
        raise AnalysisError(
            f"study {name!r} in {storage} has no finished trial of {planned}{damaged}; "
            f"go on with the study run that began it, of grid {data.info.grid}; study status {name} has its failures"
        )
    return data


def companion(storage: str, name: str) -> StudyData | None:
    """Read a study without epochs for the report of another one; None if it is not there or nothing has finished."""
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        if name not in [info.base_name for info in _studies(filesystem, root, storage)]:
            return None
        study = _read_study(filesystem, root, name, no_cell, for_report=True)
    return study if study.has_finished else None


def confirmation_study(storage: str, data: StudyData) -> StudyData | None:
    """Read the study in which ``study confirm`` trained the chosen cells of another one again, if it is there."""
    return companion(storage, f"{data.name}{CONFIRMATION}")


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


def _read_info(filesystem: pafs.FileSystem, path: str) -> StudyInfo:
    with filesystem.open_input_stream(path) as stream:
        text = stream.read()
    try:
        return StudyInfo.parse(text)
    except OtherSchemaError as error:
        raise AnalysisError(f"{path} has {error}; analyse it with the version of this program that wrote it") from None
    except ValueError as error:
        raise AnalysisError(
            f"{path} is not a study's ({error}), expected what a run writes; "
            "restore it, or run the study under another --name"
        ) from None


def _read_study(filesystem: pafs.FileSystem, root: str, name: str, curves_of: CellsOf, for_report: bool) -> StudyData:
    """Read a study. A part counts only if its trials file is there; one in epochs alone is a crash's."""
    folder = f"{root}/{name}"
    info = _read_info(filesystem, f"{folder}/study.json")
    listed = filesystem.get_file_info(pafs.FileSelector(f"{folder}/trials", allow_not_found=True))
    names = sorted(info.base_name for info in listed)
    names = [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
    trials, unreadable_trials = _read_files(
        filesystem, folder, "trials", names, lambda column: not (for_report and column in UNREAD)
    )
    trials = trials.iloc[trials["status"].map(RANK).argsort(kind="stable")].drop_duplicates("trial_id")
    data = StudyData(name, info, trials.drop(columns="part").reset_index(drop=True), pd.DataFrame(), unreadable_trials)
    if not data.has_finished:
        return data
    wanted = trials.loc[trials["cell_id"].isin(curves_of(data)), ["part", "trial_id"]]
    parts = sorted(wanted["part"].unique())
    epochs, unreadable_epochs = _read_files(
        filesystem, folder, "epochs", parts, lambda column: column in CURVES or not for_report
    )
    # The epochs of a superseded try are in another part than the trial's row.
    epochs = epochs.merge(wanted).drop(columns="part")
    return replace(data, epochs=epochs, unreadable=(*unreadable_trials, *unreadable_epochs))


def _read_files(
    filesystem: pafs.FileSystem, folder: str, kind: str, names: list[str], wanted: Callable[[str], bool]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the wanted columns of all files, with the file's name in ``part``, and which files are unreadable."""

    def read(name: str) -> pa.Table | None:
        try:
            with pq.ParquetFile(f"{folder}/{kind}/{name}", filesystem=filesystem) as file:
                table = file.read(list(filter(wanted, file.schema.names)), use_threads=False)
        except (pa.ArrowException, OSError):
            return None
        return table if COLUMNS[kind] <= set(table.column_names) else None

    readers = os.cpu_count() if isinstance(filesystem, pafs.LocalFileSystem) else READERS
    with ThreadPoolExecutor(readers) as pool:
        tables = dict(zip(names, pool.map(read, names), strict=True))
    readable = {name: table for name, table in tables.items() if table is not None}
    none = pa.schema(dict.fromkeys(("trial_id", "status", "cell_id"), pa.string())).empty_table()
    try:
        rows = pa.concat_tables([*readable.values(), none], promote_options="permissive")
    except pa.ArrowException as error:
        raise AnalysisError(f"the files of {folder}/{kind} disagree: {error}; keep one layout in a study") from None
    which = np.repeat(np.arange(len(readable)), [len(table) for table in readable.values()])
    parts = pa.DictionaryArray.from_arrays(which, pa.array(readable, pa.string())).cast(pa.string())
    frame = rows.combine_chunks().append_column("part", parts).to_pandas(ignore_metadata=True)
    return frame, tuple(f"{kind}/{name}" for name, table in tables.items() if table is None)
