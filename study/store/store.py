"""What is kept: a study's Parquet rows and its study.json, in any storage that pyarrow.fs can reach.

A *part* is the rows of one ended Tune trial with the same kind of status: one file in ``epochs/`` and, written after
it, one of the same name in ``trials/``. A part counts once its trials file is there, so a crash between the two leaves
nothing but an epochs file that no one reads. Files are never changed; finished rows supersede those of a failed or
pruned try, whose part is then removed.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from analysis.stored import FINISHED, RANK, SCHEMA_VERSION, UNFINISHED, OtherSchemaError, StudyInfo
from study.store.files import Folder, StoreError, folder_names
from study.store.rows import CellResult, rows_of
from study.store.schema import EPOCHS, TRIALS
from study.words import suggest
from trainables.config import CellSettings

# How the names of parts end, by the statuses of their rows; a later run may supersede all but the first.
ENDINGS = {"": FINISHED, **{f"-{status}": (status,) for status in UNFINISHED}}
READERS = 16  # files read at once; a storage over a network answers each after some milliseconds


class Store:
    """The rows of one study in a storage, a path or a URI such as ``s3://bucket/studies``.

    One process at a time writes to a study. What fails in the storage is tried again for ``patience_s`` seconds.
    """

    def __init__(self, storage: str, study: str, patience_s: float = 0.0) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", study):
            raise StoreError(
                f"study name {study!r}: expected up to 100 letters, digits, '.', '_' or '-', "
                "the first a letter or digit"
            )
        self.storage, self.study = storage, study
        self.folder = Folder(storage, study, patience_s)
        self._provisional: set[str] | None = None  # listed once, then kept up to date

    def read_info(self) -> StudyInfo | None:
        """Return the content of study.json, or None where there is no such study."""
        path = f"{self.folder.path}/study.json"
        text = self.folder.read("study.json")
        if text is None:
            return None
        try:
            return StudyInfo.parse(text)
        except OtherSchemaError as error:
            raise StoreError(f"{path} has {error}; use another --name") from None
        except ValueError as error:
            raise StoreError(f"{path} is not a study's: {error}; restore it or use another --name") from None

    def known_info(self) -> StudyInfo:
        """Return the content of study.json; raise StoreError where there is no such study."""
        info = self.read_info()
        if info is None:
            raise no_study(self.study, self.storage)
        return info

    def write_info(self, info: StudyInfo) -> None:
        """Replace study.json; the folders are made where missing."""
        for folder in ("trials", "epochs"):
            self.folder.make(folder)
        self.folder.put("study.json", json.dumps(info.as_dict(), indent=1).encode())

    def read_trials(self, *columns: str) -> tuple[list[dict[str, Any]], list[str]]:
        """Return one row a trial, the one that counts, and the names of files that cannot be read.

        Where columns are named, a row has them, ``trial_id`` and ``status`` alone, and reading takes half the time.
        """
        rows: dict[str, dict[str, Any]] = {}
        unreadable = []
        wanted = list(dict.fromkeys(("trial_id", "status", *columns))) if columns else None
        for name, table in self._read_all("trials", wanted):
            if table is None:
                unreadable.append(f"trials/{name}")
                continue
            for row in table.to_pylist():
                held = rows.get(row["trial_id"])
                if held is None or RANK[row["status"]] < RANK[held["status"]]:
                    rows[row["trial_id"]] = row
        return list(rows.values()), unreadable

    def read_epochs(self) -> pa.Table:
        """Return all rows of ``epochs`` whose part counts."""
        tables = [table for _, table in self._read_all("epochs")]
        return pa.concat_tables([EPOCHS.empty_table(), *(table for table in tables if table is not None)])

    def write(self, result: CellResult) -> list[dict[str, Any]]:
        """Keep the rows of a result, then remove the parts of earlier tries that they supersede; return the trials."""
        trials, epochs = rows_of(self.study, result)
        metadata = part_metadata(result.cell)
        earlier = {name for name in self._provisional_parts() if name.startswith(result.cell.cell_id)}
        written = set()
        for ending, statuses in ENDINGS.items():
            part = [row for row in trials if row["status"] in statuses]
            if not part:
                continue
            written.add(self._write_rows(result.cell.cell_id, ending, part, epochs, metadata))
        self._supersede(earlier - written, {row["trial_id"] for row in trials})
        return trials

    def write_part(self, name: str, trials: pa.Table, epochs: pa.Table) -> None:
        """Write both files of a part, of the schemas TRIALS and EPOCHS with ``part_metadata``; see ``part_name``."""
        self._put_table(f"epochs/{name}", epochs)
        self._put_table(f"trials/{name}", trials)
        if _is_provisional(name):
            self._provisional_parts().add(name)

    def _write_rows(
        self,
        cell_id: str,
        ending: str,
        trials: list[dict[str, Any]],
        epochs: list[dict[str, Any]],
        metadata: dict[Any, Any],
    ) -> str:
        """Write both files of a part, of ``epochs`` only the rows of its trials; return their name."""
        ids = {row["trial_id"] for row in trials}
        name = part_name(cell_id, ids, ending)
        self.write_part(
            name,
            pa.Table.from_pylist(trials, TRIALS.with_metadata(metadata)),
            pa.Table.from_pylist([row for row in epochs if row["trial_id"] in ids], EPOCHS.with_metadata(metadata)),
        )
        return name

    def _supersede(self, names: Iterable[str], ids: set[str]) -> None:
        """Take trials out of the named parts, each of a failed or pruned try."""
        for name in names:
            trials, epochs = self._read(f"trials/{name}"), self._read(f"epochs/{name}")
            if trials is None or epochs is None or ids.isdisjoint(trials["trial_id"].to_pylist()):
                continue
            if rest := [row for row in trials.to_pylist() if row["trial_id"] not in ids]:
                self._write_rows(_cell_id(name), _ending(name), rest, epochs.to_pylist(), trials.schema.metadata)
            self._remove(name)

    def read_parts(self) -> list[tuple[str, pa.Table | None]]:
        """Return the names of all parts with their trials, None where they cannot be read; finished ones first."""
        return sorted(self._read_all("trials"), key=lambda part: list(ENDINGS).index(_ending(part[0])))

    def adopt(self, source: "Store", name: str, ids: set[str]) -> bool:
        """Copy the rows of some trials of another study's part as they are; tell whether they could be read.

        What they supersede here is for ``repair`` to remove.
        """
        part = part_name(_cell_id(name), ids, _ending(name))
        for kind in ("epochs", "trials"):
            table = source._read(f"{kind}/{name}")
            if table is None:
                return False
            self._put_table(f"{kind}/{part}", table.filter(pc.is_in(table["trial_id"], pa.array(sorted(ids)))))
        return True

    @contextmanager
    def scratch(self) -> Iterator[tuple[pafs.FileSystem, str]]:
        """Give a filesystem and an empty folder in it, for Tune's checkpoints, that is removed at the end."""
        self.folder.delete_folder("scratch")
        self.folder.make("scratch")
        try:
            yield self.folder.filesystem, f"{self.folder.path}/scratch"
        finally:
            self.folder.delete_folder("scratch")

    def repair(self) -> list[str]:
        """Clear what a crash left behind, and set damaged files aside; return the names of those.

        The trials of a damaged part count as missing afterwards. Nothing that can be read is lost.
        """
        self._provisional = None
        for name in set(self._names("epochs")) - set(self._names("trials")):
            self.folder.delete(f"epochs/{name}")
        damaged = []
        held: dict[str, set[str]] = {ending: set() for ending in ENDINGS}
        for (name, trials), (_, epochs) in zip(self._read_all("trials"), self._read_all("epochs"), strict=True):
            bad = [f"{kind}/{name}" for kind, table in (("trials", trials), ("epochs", epochs)) if table is None]
            if bad:
                damaged += bad
                self._set_aside(name)
            elif trials is not None:
                held[_ending(name)] |= set(trials["trial_id"].to_pylist())
        for ending, better in (("-pruned", held[""]), ("-failed", held[""] | held["-pruned"])):
            self._supersede({name for name in self._provisional_parts() if _ending(name) == ending}, better)
        return damaged

    def _names(self, kind: Literal["trials", "epochs"]) -> list[str]:
        return [n for n in self.folder.names(kind) if n.endswith(".parquet") and not n.startswith(".")]

    def _provisional_parts(self) -> set[str]:
        if self._provisional is None:
            self._provisional = set(filter(_is_provisional, self._names("trials")))
        return self._provisional

    def _read_all(
        self, kind: Literal["trials", "epochs"], columns: Sequence[str] | None = None
    ) -> list[tuple[str, pa.Table | None]]:
        """Return the names of all parts, in alphabetical order, with their tables of one kind."""
        names = self._names("trials")
        with ThreadPoolExecutor(READERS) as pool:
            tables = pool.map(lambda name: self._read(f"{kind}/{name}", columns), names)
            return list(zip(names, tables, strict=True))

    def _read(self, path: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return a file's table, of all columns or of those named, or None if it is missing or damaged."""
        content = self.folder.read(path)
        if content is None:
            return None
        try:
            return pq.ParquetFile(pa.BufferReader(content)).read(columns, use_threads=False)
        except (pa.ArrowInvalid, OSError):  # the bytes are here: what fails now is what they say
            return None

    def _put_table(self, path: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer)  # parts are small: zstd takes three times as long to read and saves nothing
        self.folder.put(path, buffer.getvalue())

    def _remove(self, name: str) -> None:
        for kind in ("trials", "epochs"):
            self.folder.delete(f"{kind}/{name}")
        self._provisional_parts().discard(name)

    def _set_aside(self, name: str) -> None:
        self.folder.make("damaged")
        for kind in ("trials", "epochs"):
            self.folder.move(f"{kind}/{name}", f"damaged/{kind}-{name}")


def part_name(cell_id: str, trial_ids: Iterable[str], ending: str = "") -> str:
    """Return the name of the two files of a part: of the trials in it, whose rows finished, or as the ending says."""
    digest = hashlib.sha256(" ".join(sorted(trial_ids)).encode()).hexdigest()[:8]
    return f"{cell_id}-{digest}{ending}.parquet"


def part_metadata(cell: CellSettings) -> dict[Any, Any]:
    """Return what a part's files say of themselves."""
    return {"schema": str(SCHEMA_VERSION), "cell": cell.model_dump_json()}


def study_names(storage: str) -> list[str]:
    """Return the names of the studies in a storage, in alphabetical order."""
    return folder_names(storage, having="study.json")


def no_study(name: str, storage: str) -> StoreError:
    """Return the error that tells of a missing study, and of the one that may have been suggest."""
    known = study_names(storage)
    fix = suggest(name, known) if known else "run one: study run --grid table1"
    return StoreError(f"no study {name} in {storage}: {fix}")


def locate(study: str, storage: str) -> Store:
    """Return the store of a study that is given by its name in the storage, or by its own path or URI."""
    folder, slash, name = study.rstrip("/").rpartition("/")
    return Store(folder or "/", name) if slash else Store(storage, study)


def mean_curves(epochs: pa.Table, cell_ids: Iterable[str]) -> dict[str, dict[int, float]]:
    """Return for each cell the mean validation accuracy over its seeds by epoch; an ended seed keeps its last."""
    frame = epochs.select(["cell_id", "seed", "epoch", "val_accuracy"]).to_pandas()
    curves = {}
    for cell_id in cell_ids:
        rows = frame[frame["cell_id"] == cell_id]
        if len(rows):
            by_seed = rows.pivot_table(index="epoch", columns="seed", values="val_accuracy").ffill()
            curves[cell_id] = {int(str(epoch)): float(mean) for epoch, mean in by_seed.mean(axis=1).items()}
    return curves


def _cell_id(name: str) -> str:
    return name.partition("-")[0]


def _ending(name: str) -> str:
    return next((ending for ending in ENDINGS if ending and name.endswith(f"{ending}.parquet")), "")


def _is_provisional(name: str) -> bool:
    return _ending(name) != ""
