"""The Parquet files of a study.

A *part* holds the rows of one ended Tune trial that have the same kind of status: one file in
``epochs/`` and, written after it, one of the same name in ``trials/``. A part counts once its trials
file is there, so a crash between the two leaves only an epochs file that nobody reads. Files are never
changed: finished rows replace those of a failed or pruned try, whose part is then removed.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.parts import (
    COLUMNS_KEY,
    Kind,
    PartError,
    cell_id_of,
    check_epochs,
    ending_of,
    part_name,
    read_part,
    sort_out,
)
from analysis.stored import SCHEMA_VERSION, StudyInfo
from study.store.files import Folder, ForbiddenError
from trainables.config import TrainingSettings

KINDS: tuple[Kind, Kind] = ("epochs", "trials")  # in the order of writing
READERS = 16  # files read at the same time; a storage over a network answers after some milliseconds


def part_metadata(cell: TrainingSettings) -> dict[Any, Any]:
    """Return the metadata of a part's files: the schema version and the cell."""
    return {"schema": str(SCHEMA_VERSION), "cell": cell.model_dump_json()}


class Parts:
    """The parts in a study's folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._unfinished: set[str] | None = None  # listed once, then kept up to date

    def sorted_out(self) -> tuple[list[str], dict[str, str]]:
        """Return what ``analysis.parts.sort_out`` does of the files of the study."""
        return sort_out({kind: self._folder.names(kind) for kind in ("trials", "epochs")})

    def unfinished(self) -> set[str]:
        """Return the names of the parts that finished rows may replace."""
        if self._unfinished is None:
            self._unfinished = set(filter(ending_of, self.sorted_out()[0]))
        return set(self._unfinished)

    def read(
        self, kind: Kind, name: str, info: StudyInfo | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return a file's table, with all columns or those named; raise PartError."""
        try:
            content = self._folder.read(f"{kind}/{name}")
        except ForbiddenError as error:
            raise PartError(kind, f"cannot be read ({error})") from None
        if content is None:
            raise PartError(kind, "is missing")
        wanted = {} if columns is None else {"wanted": columns.__contains__}
        return read_part(pa.BufferReader(content), kind, name, info, **wanted)

    def read_both(self, name: str, info: StudyInfo | None = None) -> tuple[pa.Table, pa.Table]:
        """Return the trials and the epochs of a part; raise PartError if they do not belong together."""
        trials, epochs = self.read("trials", name, info), self.read("epochs", name)
        check_epochs(trials, epochs)
        return trials, epochs

    def each(
        self, read: Callable[[str], pa.Table], names: Sequence[str], problems: dict[str, str]
    ) -> dict[str, pa.Table]:
        """Return what ``read`` gives for each part by name; ``problems`` gets what is wrong with the others."""

        def attempt(name: str) -> pa.Table | PartError:
            try:
                return read(name)
            except PartError as error:
                return error

        found = {}
        with ThreadPoolExecutor(READERS) as pool:
            for name, table in zip(names, pool.map(attempt, names), strict=True):
                if isinstance(table, PartError):
                    problems[f"{table.kind}/{name}"] = str(table)
                else:
                    found[name] = table
        return found

    def write(self, name: str, trials: pa.Table, epochs: pa.Table) -> None:
        """Write both files of a part; their schemas have ``part_metadata``."""
        self._put("epochs", name, epochs)
        self._put("trials", name, trials)
        if self._unfinished is not None and ending_of(name):
            self._unfinished.add(name)

    def write_rows(self, cell_id: str, ending: str, trials: pa.Table, epochs: pa.Table) -> str:
        """Write trials as a part, with their own epochs only; return the part's name."""
        ids = set(trials["trial_id"].to_pylist())
        name = part_name(cell_id, ids, ending)
        self.write(name, trials, epochs.filter(pc.is_in(epochs["trial_id"], pa.array(sorted(ids)))))
        return name

    def copy(self, source: "Parts", name: str, ids: set[str]) -> pa.Table:
        """Copy rows of some trials from another study's part; raise PartError, and then nothing is copied."""
        trials, epochs = source.read_both(name)
        own = trials.filter(pc.is_in(trials["trial_id"], pa.array(sorted(ids))))
        self.write_rows(cell_id_of(name), ending_of(name), own, epochs)
        return own

    def take_out(self, names: Iterable[str], ids: set[str]) -> None:
        """Remove trials from the named parts; what else is in such a part stays, as another part."""
        for name in names:
            try:
                trials, epochs = self.read_both(name)
            except PartError:
                continue  # for ``Store.repair`` to set aside
            if ids.isdisjoint(trials["trial_id"].to_pylist()):
                continue
            rest = trials.filter(pc.invert(pc.is_in(trials["trial_id"], pa.array(sorted(ids)))))
            # The rest is written before the part goes, so that a crash loses no row.
            if len(rest):
                self.write_rows(cell_id_of(name), ending_of(name), rest, epochs)
            self._folder.delete(f"trials/{name}")
            self._folder.delete(f"epochs/{name}")
            if self._unfinished is not None:
                self._unfinished.discard(name)

    def remove_uncounted(self) -> None:
        """Remove the epochs files that a crash left without a trials file, and list the parts again."""
        self._unfinished = None
        counted = self._folder.names("trials")
        for name in sort_out({"trials": self._folder.names("epochs"), "epochs": ()})[0]:
            if name not in counted:
                self._folder.delete(f"epochs/{name}")

    def set_aside(self, file: str) -> None:
        """Move a file, and the other one of its part, into ``damaged/``."""
        # What may not be read need not be damaged: this raises its error.
        self._folder.read(file)
        name = file.partition("/")[2]
        self._folder.make("damaged")
        for kind in KINDS:
            self._folder.move(f"{kind}/{name}", f"damaged/{kind}-{name}")

    def _put(self, kind: Kind, name: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        # Without zstd: parts are small, so it would save nothing and read three times slower.
        # What a file should have is in it twice, so that a column which somebody takes out is missed.
        columns = {COLUMNS_KEY: " ".join(table.column_names)}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **columns})
        pq.write_table(table, buffer, write_page_checksum=True)
        self._folder.put(f"{kind}/{name}", buffer.getvalue())
