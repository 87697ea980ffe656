"""The Parquet files of a study.

A *part* holds the rows of one ended Tune trial that have the same kind of status: one file in
``epochs/`` and, written after it, one of the same name in ``trials/``. A part counts once its trials
file is there, so a crash between the two leaves only an epochs file that nobody reads. Files are never
changed: finished rows replace those of a failed or pruned try, whose part is then removed.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.stored import FINISHED, SCHEMA_VERSION, UNFINISHED
from study.store.files import Folder
from trainables.config import TrainingSettings

Kind = Literal["trials", "epochs"]
KINDS: tuple[Kind, Kind] = ("epochs", "trials")  # in the order of writing

# How the names of parts end, by the statuses of their rows. A later run may replace all but the first.
ENDINGS = {"": FINISHED, **{f"-{status}": (status,) for status in UNFINISHED}}
READERS = 16  # files read at the same time; a storage over a network answers after some milliseconds


def part_name(cell_id: str, trial_ids: Iterable[str], ending: str = "") -> str:
    """Return the name of a part's two files, from its trials and an ending of ``ENDINGS``."""
    digest = hashlib.sha256(" ".join(sorted(trial_ids)).encode()).hexdigest()[:8]
    return f"{cell_id}-{digest}{ending}.parquet"


def part_metadata(cell: TrainingSettings) -> dict[Any, Any]:
    """Return the metadata of a part's files: the schema version and the cell."""
    return {"schema": str(SCHEMA_VERSION), "cell": cell.model_dump_json()}


def cell_id_of(name: str) -> str:
    """Return the id of the cell that a part, by its name, is of."""
    return name.partition("-")[0]


def ending_of(name: str) -> str:
    """Return the ending of a part's name."""
    # Every name ends like the first, so the others are tried before it.
    return next((ending for ending in reversed(ENDINGS) if name.endswith(f"{ending}.parquet")), "")


class Parts:
    """The parts in a study's folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._unfinished: set[str] | None = None  # listed once, then kept up to date

    def names(self, kind: Kind = "trials") -> list[str]:
        """Return the names of all parts that have a file of this kind, in order."""
        # What begins with a dot is still being written.
        files = self._folder.names(kind)
        return [name for name in files if name.endswith(".parquet") and not name.startswith(".")]

    def unfinished(self) -> set[str]:
        """Return the names of the parts that finished rows may replace."""
        if self._unfinished is None:
            self._unfinished = {name for name in self.names() if ending_of(name)}
        return set(self._unfinished)

    def read(self, kind: Kind, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return a file's table, with all columns or those named; None if it is missing or damaged."""
        content = self._folder.read(f"{kind}/{name}")
        if content is None:
            return None
        try:
            return pq.ParquetFile(pa.BufferReader(content)).read(columns, use_threads=False)
        except (pa.ArrowInvalid, OSError):
            # Not the storage's fault, since the bytes are here: the file is damaged.
            return None

    def read_all(self, kind: Kind, columns: Sequence[str] | None = None) -> list[tuple[str, pa.Table | None]]:
        """Return all parts that count, in order: their names, and their tables of one kind."""
        names = self.names()
        with ThreadPoolExecutor(READERS) as pool:
            tables = pool.map(lambda name: self.read(kind, name, columns), names)
            return list(zip(names, tables, strict=True))

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

    def copy(self, source: "Parts", name: str, ids: set[str]) -> bool:
        """Copy rows of some trials from another study's part; tell whether they could be read."""
        copied = part_name(cell_id_of(name), ids, ending_of(name))
        for kind in KINDS:
            table = source.read(kind, name)
            if table is None:
                return False
            wanted = pc.is_in(table["trial_id"], pa.array(sorted(ids)))
            self._put(kind, copied, table.filter(wanted))
        return True

    def take_out(self, names: Iterable[str], ids: set[str]) -> None:
        """Remove trials from the named parts; what else is in such a part stays, as another part."""
        for name in names:
            trials, epochs = self.read("trials", name), self.read("epochs", name)
            if trials is None or epochs is None:
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
        for name in set(self.names("epochs")) - set(self.names()):
            self._folder.delete(f"epochs/{name}")

    def set_aside(self, name: str) -> None:
        """Move both files of a part into ``damaged/``."""
        self._folder.make("damaged")
        for kind in KINDS:
            self._folder.move(f"{kind}/{name}", f"damaged/{kind}-{name}")

    def _put(self, kind: Kind, name: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        # Without zstd: parts are small, so it would save nothing and read three times slower.
        pq.write_table(table, buffer)
        self._folder.put(f"{kind}/{name}", buffer.getvalue())
