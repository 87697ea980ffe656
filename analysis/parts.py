"""The Parquet files of a study, checked as they are read: nothing in them is believed.

A *part* holds rows of one cell, in two files of the same name: one in ``trials/`` and one in ``epochs/``.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.stored import FINISHED, MADE_BY, UNFINISHED, StudyInfo

Kind = Literal["trials", "epochs"]

# How the names of parts end, by the statuses of their rows. A later run may replace all but the first.
ENDINGS = {"": FINISHED, **{f"-{status}": (status,) for status in UNFINISHED}}
PART = re.compile(rf"([^-.][^-]*)-[0-9a-f]{{8}}({'|'.join(ENDINGS)})\.parquet")

# Without these columns, and of trials the objective's, rows mean nothing.
REQUIRED_COLUMNS = {
    "trials": ("cell_id", "trial_id", "seed", "status", "epochs", "error"),
    "epochs": ("trial_id", "seed", "epoch"),
}
# Types of columns that every study has; a column of nulls may have none.
TYPES = {
    **dict.fromkeys(("study", "cell_id", "trial_id", "status", "device", *MADE_BY, "error"), pa.string()),
    **dict.fromkeys(("epochs", "best_epoch", "epoch"), pa.int32()),
    **dict.fromkeys(("started_at", "finished_at"), pa.timestamp("us", tz="UTC")),
    **dict.fromkeys(("train_time_s", "train_loss", "val_loss"), pa.float64()),
    "seed": pa.int64(),
}

COLUMNS_KEY = b"columns"  # of a file's metadata: the names of all its columns; files of before lack it
FIGURE = re.compile("(?:best_)?(?:train|val|test)_(.+)")
# Another program may have written a part again, with other widths of the same kinds.
KINDS = (
    pa.types.is_integer,
    pa.types.is_floating,
    lambda kind: pa.types.is_timestamp(kind) and kind == pa.timestamp(kind.unit, tz="UTC"),
    lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
)


class PartError(Exception):
    """A file of this ``kind`` that is left out: the message says what is wrong, as the end of a sentence about it."""

    def __init__(self, kind: Kind, problem: str) -> None:
        super().__init__(problem)
        self.kind = kind


def part_name(cell_id: str, trial_ids: Iterable[str], ending: str = "") -> str:
    """Return the name of a part's two files, from its trials and an ending of ``ENDINGS``."""
    digest = hashlib.sha256(" ".join(sorted(trial_ids)).encode()).hexdigest()[:8]
    return f"{cell_id}-{digest}{ending}.parquet"


def cell_id_of(name: str) -> str:
    """Return the id of the cell that a part, by its name, is of."""
    return name.partition("-")[0]


def ending_of(name: str) -> str:
    """Return the ending of a part's name."""
    found = PART.fullmatch(name)
    return found[2] if found else ""


def sort_out(listed: Mapping[str, Iterable[str]]) -> tuple[list[str], dict[str, str]]:
    """Return the names of the parts that count, finished ones first, and what is wrong with other files by name.

    ``listed`` has the names of all files in ``trials/`` and ``epochs/``.
    """
    problems = {}
    parts: dict[str, set[str]] = {}
    for kind, names in listed.items():
        # What begins with a dot is still being written.
        shown = {name for name in names if not name.startswith(".")}
        parts[kind] = {name for name in shown if PART.fullmatch(name)}
        for name in sorted(shown - parts[kind]):
            problems[f"{kind}/{name}"] = "is no file of a study"
    # A crash may leave epochs without their trials, but not the other way round.
    for name in sorted(parts["trials"] - parts["epochs"]):
        problems[f"epochs/{name}"] = "is missing"
    endings = list(ENDINGS)
    return sorted(parts["trials"], key=lambda name: (endings.index(ending_of(name)), name)), problems


def read_part(
    source: Any, kind: Kind, name: str, info: StudyInfo | None, wanted: Callable[[str], bool] = lambda column: True
) -> pa.Table:
    """Return a file's table with the ``wanted`` columns and those that are required; raise PartError.

    ``source`` is an open file of the study with this ``info``.
    """
    required = set(REQUIRED_COLUMNS[kind])
    # A study.json that names no cells says nothing about them.
    study = info if kind == "trials" and info is not None and info.cells else None
    if study is not None:
        required.add(study.selection)
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            _check_footer(file)
            columns = [column for column in file.schema_arrow.names if column in required or wanted(column)]
            table = file.read(columns, use_threads=False)
            rows = file.metadata.num_rows
            written = (file.metadata.metadata or {}).get(COLUMNS_KEY, b"").decode().split()
            required.update(set(written) - set(file.schema_arrow.names))
        metrics = {metric.name for metric in info.metrics} if info else set[str]()
        _check_columns(kind, table, required, metrics)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise PartError(kind, f"cannot be read ({' '.join(str(error).split())[:200]})") from None
    if len(table) != rows:
        raise PartError(kind, "cannot be read (rows are missing)")
    if kind == "trials":
        _check_trials(name, table)
    if study is not None and cell_id_of(name) not in study.cell_ids:
        raise PartError("trials", "has rows of a cell that study.json does not name")
    return table


def _check_footer(file: pq.ParquetFile) -> None:
    """Raise ValueError if the footer's two lists of columns differ: pages have checksums, the footer has none."""
    described = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if described is not None:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(described, validate=True)))
        if not schema.equals(file.schema_arrow):
            raise ValueError("its footer contradicts itself")


def _check_columns(kind: Kind, table: pa.Table, required: Iterable[str], metrics: Container[str]) -> None:
    for column in required:
        if column not in table.column_names:
            raise PartError(kind, f"has no column {column}")
    for column in table.schema:
        figure = FIGURE.fullmatch(column.name)
        is_figure = kind == "epochs" or (figure is not None and figure[1] in metrics)
        expected = TYPES.get(column.name, pa.float64() if is_figure else column.type)
        same_kind = any(is_kind(expected) and is_kind(column.type) for is_kind in KINDS)
        if column.type not in (expected, pa.null()) and not same_kind:
            raise PartError(kind, f"has a column {column.name} of {column.type}, expected {expected}")


def _check_trials(name: str, table: pa.Table) -> None:
    """Raise PartError if the rows are not those that a part's name stands for, each once."""
    found = PART.fullmatch(name)
    ids = table["trial_id"].to_pylist()
    cells, seeds = table["cell_id"].to_pylist(), table["seed"].to_pylist()
    if found is None or None in {*ids, *cells, *seeds} or len(set(ids)) < len(ids):
        raise PartError("trials", "has rows without an id, or one trial twice")
    own = [f"{found[1]}-{seed:04d}" for seed in seeds]
    if set(cells) - {found[1]} or own != ids or part_name(found[1], ids, found[2]) != name:
        raise PartError("trials", "has rows of other trials than its name says")
    if strange := set(table["status"].to_pylist()).difference(ENDINGS[found[2]]):
        raise PartError("trials", f"has the status {strange.pop()!r}, which its name does not allow")


def check_epochs(trials: pa.Table, epochs: pa.Table) -> None:
    """Raise PartError unless the epochs of a part are those of its trials, each once."""
    found = epochs["trial_id"].to_pylist()
    if len(set(zip(found, epochs["epoch"].to_pylist(), strict=True))) < len(found):
        raise PartError("epochs", "has an epoch twice")
    expected = dict(zip(trials["trial_id"].to_pylist(), trials["epochs"].to_pylist(), strict=True))
    counted = Counter(found)
    for trial_id in {*expected, *counted}:
        if (number := expected.get(trial_id) or 0) != counted[trial_id]:
            raise PartError("epochs", f"has {counted[trial_id]} epochs of trial {trial_id}, expected {number}")


def join_parts(kind: Kind, tables: Mapping[str, pa.Table], unreadable: dict[str, str]) -> pd.DataFrame:
    """Return the rows of all tables, with the file's name as ``part``.

    ``unreadable`` gets the files that are left out, since their columns do not fit those of the others.
    """
    # Also without any file, the frame has the columns that readers ask for.
    asked = dict.fromkeys(("trial_id", "status", "cell_id"), pa.string())
    schema = pa.schema(asked | ({"epoch": pa.int8()} if kind == "epochs" else {}))
    before = schema
    fitting: dict[str, pa.Table] = {}
    for name, table in tables.items():
        try:
            # Most files have the same columns as the one before.
            if not table.schema.equals(before):
                schema = pa.unify_schemas([schema, table.schema.remove_metadata()], promote_options="permissive")
            before = table.schema
            fitting[name] = table
        except pa.ArrowException as error:
            unreadable[f"{kind}/{name}"] = f"has columns that do not fit those of the others ({error})"
    rows = pa.concat_tables([*fitting.values(), schema.empty_table()], promote_options="permissive")

    # As a dictionary, the names of the parts are not copied for each row.
    which = np.repeat(np.arange(len(fitting)), [len(table) for table in fitting.values()])
    parts = pa.DictionaryArray.from_arrays(which, pa.array(fitting, pa.string())).cast(pa.string())
    frame: pd.DataFrame = rows.combine_chunks().append_column("part", parts).to_pandas(ignore_metadata=True)
    return frame


def stored_twice(trials: pd.DataFrame, info: StudyInfo) -> tuple[str, ...]:
    """Return the ids of finished trials of which two parts have different figures."""
    again = trials[trials["status"].isin(FINISHED) & trials.duplicated("trial_id", keep=False)]
    figures = again.columns.intersection(info.metric_columns)
    counts = again.groupby("trial_id")[list(figures)].nunique(dropna=False)
    return tuple(counts.index[(counts > 1).any(axis=1)])
