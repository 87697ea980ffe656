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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from study.rows import EPOCHS, FINISHED, TRIALS, CellResult, rows_of

SCHEMA_VERSION = 1
# Where a trial has rows in several parts, the one with the lowest rank counts.
RANK = {"completed": 0, "converged": 0, "pruned": 1, "failed": 2}
INFO_KEYS = {"schema", "study", "grid", "roles", "cells", "seeds", "protocol", "runs"}


class StoreError(Exception):
    """A storage that cannot be used as asked: the message names it, says why, and what to do."""


class Store:
    """The folder of one study in a storage: a path or a URI such as ``s3://bucket/studies``."""

    def __init__(self, storage: str, study: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", study):
            raise StoreError(
                f"study name {study!r}: expected up to 100 letters, digits, '.', '_' or '-', "
                "the first a letter or digit"
            )
        self.storage, self.study = storage, study
        self._filesystem, root = filesystem_of(storage)
        self._folder = f"{root}/{study}"

    def read_info(self) -> dict[str, Any] | None:
        """Return the content of study.json, or None where there is no such study."""
        path = f"{self._folder}/study.json"
        text = self.read_file("study.json")
        if text is None:
            return None
        try:
            info = dict(json.loads(text))
        except (ValueError, TypeError):
            info = {}
        if info.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise StoreError(f"{path} has schema {info['schema']}, expected {SCHEMA_VERSION}; use another --name")
        if missing := INFO_KEYS - info.keys():
            raise StoreError(
                f"{path} is not a study's: {', '.join(sorted(missing))} missing; restore it or use another --name"
            )
        return info

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace study.json; the folders are made where missing."""
        self.create()
        self.put_file("study.json", json.dumps({"schema": SCHEMA_VERSION, **info}, indent=1).encode())

    def create(self) -> None:
        """Make the study's folders where missing."""
        with _explained("write to", self.storage):
            for folder in ("trials", "epochs"):
                self._filesystem.create_dir(f"{self._folder}/{folder}", recursive=True)

    def read_trials(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return one row a trial, the one that counts, and the names of files that cannot be read."""
        rows: dict[str, dict[str, Any]] = {}
        unreadable = []
        for name in self._names("trials"):
            table = self._read(f"trials/{name}")
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
        tables = [self._read(f"epochs/{name}") for name in self._names("trials")]
        return pa.concat_tables([EPOCHS.empty_table(), *(table for table in tables if table is not None)])

    def write(self, result: CellResult) -> list[dict[str, Any]]:
        """Keep the rows of a result, then remove the parts of earlier tries that they supersede; return the trials."""
        trials, epochs = rows_of(self.study, result)
        metadata = {"schema": str(SCHEMA_VERSION), "cell": result.cell.model_dump_json()}
        earlier = {name for name in self._names("trials") if name.startswith(result.cell.cell_id)}
        written = set()
        for suffix, statuses in (("", FINISHED), ("-pruned", ("pruned",)), ("-failed", ("failed",))):
            part = [row for row in trials if row["status"] in statuses]
            if not part:
                continue
            written.add(self._write_part(result.cell.cell_id, suffix, part, epochs, metadata))
        self._supersede(earlier - written, {row["trial_id"] for row in trials})
        return trials

    def _write_part(
        self,
        cell_id: str,
        suffix: str,
        trials: list[dict[str, Any]],
        epochs: list[dict[str, Any]],
        metadata: dict[Any, Any],
    ) -> str:
        """Write both files of a part, of ``epochs`` only the rows of its trials; return their name."""
        ids = {row["trial_id"] for row in trials}
        digest = hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()[:8]
        name = f"{cell_id}-{digest}{suffix}.parquet"
        self._put_table(f"epochs/{name}", [row for row in epochs if row["trial_id"] in ids], EPOCHS, metadata)
        self._put_table(f"trials/{name}", trials, TRIALS, metadata)
        return name

    def _supersede(self, names: Iterable[str], ids: set[str]) -> None:
        """Take trials out of those of the named parts that are of a failed or pruned try."""
        for name in filter(_is_provisional, names):
            trials, epochs = self._read(f"trials/{name}"), self._read(f"epochs/{name}")
            if trials is None or epochs is None or ids.isdisjoint(trials["trial_id"].to_pylist()):
                continue
            if rest := [row for row in trials.to_pylist() if row["trial_id"] not in ids]:
                cell_id, _, suffix = name.removesuffix(".parquet").split("-")
                self._write_part(cell_id, f"-{suffix}", rest, epochs.to_pylist(), trials.schema.metadata)
            self._remove(name)

    @contextmanager
    def scratch(self) -> Iterator[tuple[pafs.FileSystem, str]]:
        """Give a filesystem and an empty folder in it, for Tune's checkpoints, that is removed at the end."""
        folder = f"{self._folder}/scratch"
        with _explained("write to", self.storage):
            self._filesystem.create_dir(folder)
            self._filesystem.delete_dir_contents(folder)
        try:
            yield self._filesystem, folder
        finally:
            with _explained("write to", self.storage):
                self._filesystem.delete_dir(folder)

    def repair(self) -> list[str]:
        """Clear what a crash left behind, and set damaged files aside; return the names of those.

        The trials of a damaged part count as missing afterwards. Nothing that can be read is lost.
        """
        trials, epochs = set(self._names("trials")), set(self._names("epochs"))
        with _explained("write to", self.storage):
            for name in epochs - trials:
                self._filesystem.delete_file(f"{self._folder}/epochs/{name}")
        damaged = []
        finished: set[str] = set()
        for name in sorted(trials):
            bad = [f"{kind}/{name}" for kind in ("trials", "epochs") if self._read(f"{kind}/{name}") is None]
            if bad:
                damaged += bad
                self._set_aside(name)
            elif not _is_provisional(name) and (table := self._read(f"trials/{name}")):
                finished |= set(table["trial_id"].to_pylist())
        self._supersede(self._names("trials"), finished)
        return damaged

    def _names(self, kind: Literal["trials", "epochs"]) -> list[str]:
        selector = pafs.FileSelector(f"{self._folder}/{kind}", allow_not_found=True)
        with _explained("read", self.storage):
            names = [info.base_name for info in self._filesystem.get_file_info(selector)]
        return sorted(name for name in names if name.endswith(".parquet") and not name.startswith("."))

    def _read(self, path: str) -> pa.Table | None:
        """Return a file's table, or None if it is missing or damaged."""
        try:
            return pq.read_table(f"{self._folder}/{path}", filesystem=self._filesystem, partitioning=None)
        except (pa.ArrowInvalid, FileNotFoundError):
            return None
        except OSError as error:
            if "Couldn't deserialize thrift" in str(error) or "Corrupt" in str(error):
                return None
            raise StoreError(f"cannot read {self._folder}/{path}: {error}") from None

    def _put_table(self, path: str, rows: list[dict[str, Any]], schema: pa.Schema, metadata: dict[Any, Any]) -> None:
        buffer = io.BytesIO()
        table = pa.Table.from_pylist(rows, schema.with_metadata(metadata))
        pq.write_table(table, buffer, compression="zstd")
        self.put_file(path, buffer.getvalue())

    def read_file(self, path: str) -> bytes | None:
        """Return the content of a file, named relative to the study's folder, or None where there is none."""
        with _explained("read", self.storage):
            if self._filesystem.get_file_info(f"{self._folder}/{path}").type == pafs.FileType.NotFound:
                return None
            with self._filesystem.open_input_stream(f"{self._folder}/{path}") as stream:
                return bytes(stream.read())

    def delete_file(self, path: str) -> None:
        """Remove a file, if it is there."""
        with _explained("write to", self.storage):
            if self._filesystem.get_file_info(f"{self._folder}/{path}").type != pafs.FileType.NotFound:
                self._filesystem.delete_file(f"{self._folder}/{path}")

    def put_file(self, path: str, content: bytes) -> None:
        """Write a file whole: under another name first where files are renamed, as one object where they are put."""
        folder, _, name = f"{self._folder}/{path}".rpartition("/")
        renames = isinstance(self._filesystem, pafs.LocalFileSystem)
        first = f"{folder}/.{name}.tmp" if renames else f"{folder}/{name}"
        with _explained("write to", self.storage):
            with self._filesystem.open_output_stream(first) as stream:
                stream.write(content)
            if renames:
                self._filesystem.move(first, f"{folder}/{name}")

    def _remove(self, name: str) -> None:
        with _explained("write to", self.storage):
            for kind in ("trials", "epochs"):
                self._filesystem.delete_file(f"{self._folder}/{kind}/{name}")

    def _set_aside(self, name: str) -> None:
        with _explained("write to", self.storage):
            self._filesystem.create_dir(f"{self._folder}/damaged")
            for kind in ("trials", "epochs"):
                path = f"{self._folder}/{kind}/{name}"
                if self._filesystem.get_file_info(path).type != pafs.FileType.NotFound:
                    self._filesystem.move(path, f"{self._folder}/damaged/{kind}-{name}")


@contextmanager
def _explained(what: str, storage: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot {what} the storage {storage}: {error}; give one that you can use with --storage"
        ) from None


def filesystem_of(storage: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of a path or URI, and the path in it; raise StoreError."""
    if "://" not in storage:
        return pafs.LocalFileSystem(), str(Path(storage).expanduser().absolute())
    try:
        filesystem, path = pafs.FileSystem.from_uri(storage)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"storage {storage}: {error}; expected a folder, or a URI such as s3://bucket/dir") from None
    return filesystem, str(path).rstrip("/")


def study_names(storage: str) -> list[str]:
    """Return the names of the studies in a storage, in alphabetical order."""
    filesystem, root = filesystem_of(storage)
    with _explained("read", storage):
        folders = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        infos = filesystem.get_file_info([f"{folder.path}/study.json" for folder in folders])
    return sorted(
        folder.base_name for folder, info in zip(folders, infos, strict=True) if info.type == pafs.FileType.File
    )


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


def _is_provisional(name: str) -> bool:
    return name.endswith(("-failed.parquet", "-pruned.parquet"))
