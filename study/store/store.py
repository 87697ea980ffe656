"""The rows of a study and its study.json, in any storage that pyarrow.fs can reach."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.fs as pafs

from analysis.parts import ENDINGS, ending_of
from analysis.stored import RANK, StudyInfo
from study.store.files import Folder, StoreError, folder_names
from study.store.parts import Parts, part_metadata
from study.store.rows import CellResult, Row, rows_of
from study.store.schema import epochs_schema, trials_schema
from study.store.study_json import read_study_json, write_study_json
from study.words import suggest
from trainables.config import TrainingSettings


class Store:
    """The rows of one study in a storage: a path or a URI such as ``s3://bucket/studies``.

    One process at a time writes to a study. What fails in the storage is tried again for
    ``patience_s`` seconds. ``parts`` are the Parquet files that hold the rows.
    """

    def __init__(self, storage: str, study: str, patience_s: float = 0.0) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", study):
            expected = "expected up to 100 letters, digits, '.', '_' or '-', the first a letter or digit"
            raise StoreError(f"study name {study!r}: {expected}")
        self.storage, self.study = storage, study
        self.folder = Folder(storage, study, patience_s)
        self.parts = Parts(self.folder)

    def read_info(self) -> StudyInfo | None:
        """Return the content of study.json, or None without such a study; raise StoreError."""
        return read_study_json(self.folder)

    def known_info(self) -> StudyInfo:
        """Return the content of study.json; raise StoreError if there is no such study."""
        info = self.read_info()
        if info is None:
            raise no_study(self.study, self.storage)
        return info

    def write_info(self, info: StudyInfo) -> None:
        """Replace study.json; missing folders are made."""
        for folder in ("trials", "epochs"):
            self.folder.make(folder)
        write_study_json(self.folder, info)

    def read_trials(self, *columns: str, info: StudyInfo | None = None) -> tuple[list[Row], dict[str, str]]:
        """Return one row per trial, the one that counts, and what is wrong with files that are left out.

        With ``columns``, a row has only these and those that every file must have: that takes half the time.
        """
        rows: dict[str, Row] = {}
        parts, problems = self.read_parts(columns or None, info)
        for table in parts.values():
            for row in table.to_pylist():
                held = rows.get(row["trial_id"])
                if held is None or RANK[row["status"]] < RANK[held["status"]]:
                    rows[row["trial_id"]] = row
        return list(rows.values()), problems

    def read_epochs(self) -> pa.Table:
        """Return all rows of ``epochs`` that belong to a part that counts."""
        names, problems = self.parts.sorted_out()
        info = self.read_info()
        tables = self.parts.each(lambda name: self.parts.read_both(name, info)[1], names, problems)
        return pa.concat_tables(tables.values(), promote_options="permissive") if tables else pa.table({})

    def read_parts(
        self, columns: Sequence[str] | None = None, info: StudyInfo | None = None
    ) -> tuple[dict[str, pa.Table], dict[str, str]]:
        """Return the trials of all parts by name, finished ones first, and what is wrong with other files.

        The cells of the study are those of ``info``, by default those of study.json.
        """
        while True:
            # A run adds a cell to study.json before its rows, so what is listed before that is of known cells.
            names, problems = self.parts.sorted_out()
            known = self.read_info() if info is None else info
            read = partial(self.parts.read, "trials", info=known, columns=columns)
            found = self.parts.each(read, names, problems)
            # What is gone since it was listed was replaced by a run: look once more.
            if len(found) == len(names) or set(names) <= set(self.parts.sorted_out()[0]):
                return found, problems

    def write(self, result: CellResult) -> list[Row]:
        """Keep the rows of a result and return those of ``trials``."""
        trials, epochs = rows_of(self.study, result)
        self.write_rows(result.cell, result.factors, trials, epochs)
        return trials

    def write_rows(
        self, cell: TrainingSettings, factors: Iterable[str], trials: Sequence[Row], epochs: Sequence[Row]
    ) -> None:
        """Keep rows of a cell, in a part for each kind of status; ``factors`` become columns."""
        metadata = part_metadata(cell)
        own_epochs = pa.Table.from_pylist(epochs, epochs_schema(cell).with_metadata(metadata))
        earlier = {name for name in self.parts.unfinished() if name.startswith(cell.cell_id)}
        written = set()
        for ending, statuses in ENDINGS.items():
            rows = [row for row in trials if row["status"] in statuses]
            if rows:
                schema = trials_schema(cell, factors).with_metadata(metadata)
                own = pa.Table.from_pylist(rows, schema)
                written.add(self.parts.write_rows(cell.cell_id, ending, own, own_epochs))
        # Now the parts of earlier tries can go. If such a try ended in the same way, its part
        # has the same name and has been overwritten.
        self.parts.take_out(earlier - written, {row["trial_id"] for row in trials})

    def repair(self, info: StudyInfo | None = None) -> dict[str, str]:
        """Clear what a crash left behind, and set aside what is no part of the study; return what is wrong with it.

        Trials that are set aside count as missing afterwards. No readable row is lost. The cells of the study
        are those of ``info``, by default those of study.json.
        """
        self.parts.remove_uncounted()
        names, problems = self.parts.sorted_out()
        info = self.read_info() if info is None else info
        parts = self.parts.each(lambda name: self.parts.read_both(name, info)[0], names, problems)
        held: dict[str, set[str]] = {ending: set() for ending in ENDINGS}
        for name, trials in parts.items():
            held[ending_of(name)] |= set(trials["trial_id"].to_pylist())
        for file in problems:
            self.parts.set_aside(file)
        self._remove_replaced(held)
        return problems

    def _remove_replaced(self, held: dict[str, set[str]]) -> None:
        """Remove rows that better ones replace; ``held`` has the ids of trials by their part's ending."""
        better: set[str] = set()
        for ending, ids in held.items():  # from the best ending to the worst
            for name in self.parts.unfinished():
                if ending_of(name) == ending:
                    self.parts.take_out([name], better)
            better |= ids

    @contextmanager
    def scratch(self) -> Iterator[tuple[pafs.FileSystem, str]]:
        """Give a filesystem and an empty folder in it, which is removed at the end, for checkpoints."""
        self.folder.delete_folder("scratch")
        self.folder.make("scratch")
        try:
            yield self.folder.filesystem, f"{self.folder.path}/scratch"
        finally:
            self.folder.delete_folder("scratch")


def study_names(storage: str) -> list[str]:
    """Return the names of the studies in a storage, in alphabetical order."""
    return folder_names(storage, having="study.json")


def no_study(name: str, storage: str) -> StoreError:
    """Return the error for a missing study, with the one that may have been meant."""
    known = study_names(storage)
    fix = suggest(name, known) if known else "run one: study run --grid table1"
    return StoreError(f"no study {name} in {storage}: {fix}")


def locate(study: str, storage: str) -> Store:
    """Return the store of a study, given by its name in the storage or by its path or URI."""
    folder, slash, name = study.rstrip("/").rpartition("/")
    return Store(folder or "/", name) if slash else Store(storage, study)


def mean_curves(epochs: pa.Table, cell_ids: Iterable[str], column: str) -> dict[str, dict[int, float]]:
    """Return for each cell with rows the mean of a column over its seeds, by epoch."""
    # ``epochs`` is what ``read_epochs`` returns. A seed that has ended keeps its last figure.
    if column not in epochs.column_names:
        return {}
    frame = epochs.select(["cell_id", "seed", "epoch", column]).to_pandas()
    curves = {}
    for cell_id in cell_ids:
        rows = frame[frame["cell_id"] == cell_id]
        if len(rows):
            by_seed = rows.pivot_table(index="epoch", columns="seed", values=column).ffill()
            curves[cell_id] = {int(str(epoch)): float(mean) for epoch, mean in by_seed.mean(axis=1).items()}
    return curves
