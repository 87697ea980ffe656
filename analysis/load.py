"""A study as two data frames, read from its study.json and Parquet parts in any storage."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, partial
from operator import methodcaller
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs

from analysis.parts import (
    REQUIRED_COLUMNS,
    Kind,
    PartError,
    check_epochs,
    join_parts,
    read_part,
    sort_out,
    stored_twice,
)
from analysis.settings import in_fixed_order, is_column
from analysis.stored import CONFIRMATION, FINISHED, RANK, SETTING_COLUMNS, AnalysisError, OtherSchemaError, StudyInfo

# What a report reads of epochs, beside the objective.
CURVE_COLUMNS = ("cell_id", "trial_id", "seed", "epoch")
# What no report reads of trials, beside settings and best_ metrics. Leaving it out pays: parts have few rows, so
# that a column costs as much as opening a file.
UNREAD_COLUMNS = ("study", "best_epoch", "val_loss")
# Parts are small files. Reading them is waiting for an object store, but work for a disk.
REMOTE_READERS = 16


@dataclass(frozen=True, eq=False)
class StudyData:
    """What a study has: ``info`` is study.json, ``trials`` has one row per trial, ``epochs`` one per trial and epoch.

    ``epochs`` has the columns and cells that were asked for. ``unreadable`` says, by their names
    in the study's folder, what is wrong with the files that are left out. ``twice`` are the trials
    that two files have with different figures: those of the first file by name count.
    """

    name: str
    info: StudyInfo
    trials: pd.DataFrame
    epochs: pd.DataFrame
    unreadable: Mapping[str, str]
    twice: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        """The cells' settings that tables show: those with a column in the store, then the other factors."""
        names = dict.fromkeys([*SETTING_COLUMNS, *self.info.roles])
        known = set().union(*self.info.cells)
        return tuple(name for name in names if name in known)

    @property
    def selection(self) -> str:
        """The column that cells are chosen by: the objective, usually on the validation part."""
        return self.info.selection

    @property
    def reported(self) -> str:
        """The column that a report speaks of: the objective on the test part, or without one on the validation part."""
        return self.info.goal.column(self.reported_part)

    @property
    def reported_part(self) -> str:
        """The part of ``reported``: test or val."""
        return "test" if self.has_test else "val"

    @property
    def has_test(self) -> bool:
        """Whether a trial has the objective on a test part."""
        column = self.info.goal.column("test")
        return column in self.trials and bool(self.trials[column].notna().any())

    @property
    def scientific(self) -> list[str]:
        """The factors that the study is about, in the grid's order; cells with the same values are a stratum."""
        return [name for name, role in self.info.roles.items() if role == "scientific"]

    @property
    def tuned(self) -> tuple[str, ...]:
        """The factors of which the best value is picked, in the grid's order."""
        return tuple(name for name, role in self.info.roles.items() if role == "tuned")

    @property
    def has_finished(self) -> bool:
        """Whether a trial has finished; if none has, there is nothing to analyse, and no epochs are read."""
        return bool(self.trials["status"].isin(FINISHED).any())


CellsOf = Callable[[StudyData], Collection[str]]
Listed = tuple[list[str], dict[str, str]]  # names of parts that count, and what is wrong with other files


def every_cell(data: StudyData) -> Collection[str]:
    """Ask for the epochs of all cells."""
    return set(data.trials["cell_id"])


def no_cell(data: StudyData) -> Collection[str]:
    """Ask for no epochs."""
    return ()


def load_study(storage: str, name: str, curves_of: CellsOf = every_cell, for_report: bool = False) -> StudyData:
    """Read a study from a storage: a path, or a URI such as ``s3://bucket/studies``.

    ``curves_of`` gets the study without epochs and returns ids of the cells whose epochs are
    read: a large study has a thousand epochs for each one that a report shows. ``for_report``
    reads only columns that a report shows. Raises AnalysisError for a storage that cannot be
    read, an unknown study, a study.json not of this schema, a study without a finished trial.
    """
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        known = list(_studies(filesystem, root, storage))
        if name not in known:
            near = get_close_matches(name, known, n=1)
            fix = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise AnalysisError(f"no study {name!r} in {storage}: {fix}")
        data = _read_study(filesystem, f"{root}/{name}", curves_of, for_report)
    if not data.has_finished:
        damaged = f", and {len(data.unreadable)} files are left out" if data.unreadable else ""
        problem = f"study {name!r} in {storage} has no finished trial of {data.info.planned}{damaged}"
        again = f"continue it with the study run command that began it (grid {data.info.grid})"
        raise AnalysisError(f"{problem}; {again}, or see its failures with study status {name}")
    return data


def companion(storage: str, name: str) -> StudyData | None:
    """Read a study without epochs, for another one's report; None if no such study has finished."""
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        if name not in _studies(filesystem, root, storage):
            return None
        study = _read_study(filesystem, f"{root}/{name}", no_cell, for_report=True)
    return study if study.has_finished else None


def confirmation_study(storage: str, data: StudyData) -> StudyData | None:
    """Read the study that ``study confirm`` made of a study; None as for ``companion``."""
    return companion(storage, f"{data.name}{CONFIRMATION}")


def latest_study(storage: str) -> str:
    """Return the study whose study.json changed last, if possible no confirmation; raise AnalysisError without one."""
    filesystem, root = _filesystem(storage)
    with _explained(storage):
        changed = _studies(filesystem, root, storage)
    chosen = [name for name in changed if not name.endswith(CONFIRMATION)]
    return max(chosen or changed, key=changed.__getitem__)


def _filesystem(storage: str) -> tuple[pafs.FileSystem, str]:
    with _explained(storage):
        if "://" not in storage:
            return pafs.LocalFileSystem(), str(Path(storage).expanduser().absolute())
        if not storage.partition("://")[2].strip("/"):
            raise ValueError("it names no bucket or folder")
        filesystem, path = pafs.FileSystem.from_uri(storage)
    return filesystem, str(path).rstrip("/")


@contextmanager
def _explained(storage: str) -> Iterator[None]:
    try:
        yield
    # A path of another user's home raises RuntimeError, what is no text of a path ValueError.
    except (ValueError, RuntimeError, OSError) as error:
        expected = "expected a folder, or a URI such as s3://bucket/studies"
        raise AnalysisError(f"cannot read the storage {storage}: {error}; {expected}") from None


def _studies(filesystem: pafs.FileSystem, root: str, storage: str) -> dict[str, int]:
    """Return when the study.json of each study changed, in ns; in alphabetical order, at least one."""
    folders = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    files = filesystem.get_file_info([f"{folder.path}/study.json" for folder in folders])
    changed = {}
    for folder, file in zip(folders, files, strict=True):
        if file.type == pafs.FileType.File:
            changed[folder.base_name] = file.mtime_ns or 0
    if not changed:
        fix = f"run one: study run --grid table1 --storage {storage}"
        raise AnalysisError(f"no study in {storage}: a run leaves its results there; {fix}")
    return dict(sorted(changed.items()))


def _read_info(filesystem: pafs.FileSystem, path: str) -> StudyInfo:
    with filesystem.open_input_stream(path) as stream:
        text = stream.read()
    try:
        return StudyInfo.parse(text)
    except OtherSchemaError as error:
        raise AnalysisError(f"{path} has {error}; analyse it with the version of this program that wrote it") from None
    except ValueError as error:
        problem = f"{path} is not a study.json as a run writes it ({error})"
        raise AnalysisError(f"{problem}; restore it, or run the study under another --name") from None


def _read_study(filesystem: pafs.FileSystem, folder: str, curves_of: CellsOf, for_report: bool) -> StudyData:
    while True:
        # A run adds a cell to study.json before its rows, so what is listed before that is of known cells.
        listed = _list_parts(filesystem, folder)
        data = _read_listed(filesystem, folder, listed, curves_of, for_report)
        # What is gone since it was listed was replaced by a run: look once more.
        if not data.unreadable or set(listed[0]) <= set(_list_parts(filesystem, folder)[0]):
            return data


def _read_listed(
    filesystem: pafs.FileSystem, folder: str, listed: Listed, curves_of: CellsOf, for_report: bool
) -> StudyData:
    names, unreadable = listed
    info = in_fixed_order(_read_info(filesystem, f"{folder}/study.json"))
    parts = _Parts(filesystem, folder, info, for_report, unreadable)
    tables = parts.read("trials", names)
    trials = join_parts("trials", tables, unreadable)
    # If a trial was trained again, its rows are in several parts, and the best status counts.
    trials = trials.iloc[trials["status"].map(RANK).argsort(kind="stable")]
    twice = stored_twice(trials, info)
    # In this order, which grid or seed ran first changes no bit of a mean.
    trials = trials.drop_duplicates("trial_id").sort_values("trial_id", kind="stable")
    shown = trials.drop(columns="part").reset_index(drop=True)
    for name in () if for_report else parts.mixed:
        shown[name] = shown["cell_id"].map({cell["cell_id"]: cell.get(name) for cell in info.cells})
    data = StudyData(Path(folder).name, info, shown, pd.DataFrame(), unreadable, twice)
    if not data.has_finished:
        return data

    # Epochs are read only of the parts that have rows of the wanted cells.
    wanted = trials.loc[trials["cell_id"].isin(curves_of(data)), ["part", "trial_id"]]
    curves = parts.read("epochs", sorted(wanted["part"].unique()), tables)
    epochs = join_parts("epochs", curves, unreadable)
    # The epochs of a superseded try are in another part than the trial's row, so the merge drops them.
    epochs = epochs.merge(wanted).drop(columns="part")
    return replace(data, epochs=epochs.sort_values("trial_id", kind="stable", ignore_index=True))


def _list_parts(filesystem: pafs.FileSystem, folder: str) -> Listed:
    """Return the names of the parts that count, and what is wrong with other files, by their names."""
    # A part counts only if its trials file is there: a crash may leave only the epochs.
    found = {}
    for kind in REQUIRED_COLUMNS:
        listed = filesystem.get_file_info(pafs.FileSelector(f"{folder}/{kind}", allow_not_found=True))
        found[kind] = [info.base_name for info in listed if info.type == pafs.FileType.File]
    return sort_out(found)


@dataclass(frozen=True)
class _Parts:
    """The Parquet files of a study; ``unreadable`` gets what is left out."""

    filesystem: pafs.FileSystem
    folder: str
    info: StudyInfo
    for_report: bool
    unreadable: dict[str, str]

    @cached_property
    def mixed(self) -> list[str]:
        """The factors whose values make no column; study.json has them."""
        cells = self.info.cells
        return [name for name in self.info.roles if not is_column(map(methodcaller("get", name), cells))]

    def read(self, kind: Kind, names: list[str], trials: Mapping[str, pa.Table] | None = None) -> dict[str, pa.Table]:
        """Return the wanted columns of the files of a kind by name; epochs are compared with their ``trials``."""

        def read_file(name: str) -> pa.Table | PartError:
            try:
                with self.filesystem.open_input_file(f"{self.folder}/{kind}/{name}") as file:
                    table = read_part(file, kind, name, self.info, partial(self._is_wanted, kind))
                if trials is not None:
                    check_epochs(trials[name], table)
            except OSError as error:
                return PartError(kind, f"cannot be read ({error})")
            except PartError as error:
                return error
            return table

        local = isinstance(self.filesystem, pafs.LocalFileSystem)
        with ThreadPoolExecutor(os.cpu_count() if local else REMOTE_READERS) as pool:
            found = dict(zip(names, pool.map(read_file, names), strict=True))
        tables = {}
        for name, table in found.items():
            if isinstance(table, PartError):
                self.unreadable[f"{kind}/{name}"] = str(table)
            else:
                tables[name] = table
        return tables

    def _is_wanted(self, kind: Kind, column: str) -> bool:
        if not self.for_report:
            return column not in self.mixed
        objective = self.info.selection
        if kind == "epochs":
            return column in (*CURVE_COLUMNS, objective)
        return not (column.startswith("best_") or column in (*UNREAD_COLUMNS, *SETTING_COLUMNS, *self.info.roles))
