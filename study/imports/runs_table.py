"""A table of trainings that were made elsewhere: read, and checked row by row."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.stored import EPOCH_COLUMNS, SETTING_COLUMNS, TRIAL_COLUMNS
from study.errors import StudyError
from study.words import describe_settings, suggest
from trainables.config import ImportedSettings, Metric, columns_of

# The words of a column's name that say of which part of the data it is.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TRACKER_WORDS = ("metrics", "summary")  # MLflow and W&B put them in front
# How W&B, MLflow and Optuna say that a training has ended.
STATUSES = {
    **dict.fromkeys(("completed", "complete", "finished", "success"), "completed"),
    **dict.fromkeys(("failed", "fail", "crashed", "killed", "error"), "failed"),
    "pruned": "pruned",
}
LESS_IS_BETTER = {"error", "err", "nll", "mse", "rmse", "mae", "perplexity", "ppl", "loss", "brier", "wer", "fid"}
NOTHING = ("nan", "NaN", "NAN", "<NA>")
# A factor cannot have the name of another column of the store, or of one that reports add to a table of cells.
ADDED_BY_REPORTS = ("n", "n_planned", "n_failed", "state", "pruned_epoch", "tie_order", "order", "at")
RESERVED = {"model", *TRIAL_COLUMNS, *EPOCH_COLUMNS, *ADDED_BY_REPORTS} - (SETTING_COLUMNS.keys() - {"model"})

Texts: TypeAlias = "pd.Series[str]"


class TableError(StudyError):
    """A table that cannot be imported as asked: the message names the row or the column, and the fix."""


@dataclass(frozen=True, kw_only=True)
class RunsTable:
    """A CSV or Parquet file with one row per training, or with ``epoch`` one per training and epoch; and its columns.

    ``metrics`` are COLUMN[:goal[:unit[:scale]]], the objective first. The name of such a column has a
    word for the part of the data: train, val or test. NAME=COLUMN gives a column another
    name. Without ``seed``, each cell has one training. ``factors`` may also be one text with commas.
    """

    file: str
    factors: str | Sequence[str]
    metrics: Sequence[str]
    seed: str | None = None
    epoch: str | None = None
    status: str | None = None


@dataclass(frozen=True)
class Trainings:
    """What a table holds, checked.

    ``rows`` has the factors, seed, status, error, ``figures`` (columns such as val_accuracy), and
    if the table has epochs, epoch, by which it is sorted. ``kinds`` are the types of the factors.
    """

    file: str
    rows: pd.DataFrame
    kinds: Mapping[str, type]
    metrics: tuple[Metric, ...]
    figures: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of the table, in order."""
        return tuple(sorted(set(self.rows["seed"])))

    def cells(self) -> "list[tuple[dict[str, Any], pd.DataFrame]]":
        """Return the factors and the rows of each cell, ordered by factors."""
        names = list(self.kinds)
        return [(dict(zip(names, key, strict=True)), rows) for key, rows in self.rows.groupby(names)]

    def describe(self) -> list[str]:
        """Say how many trainings there are, how many failed, and which cells lack seeds."""
        cells = self.cells()
        trainings = self.rows.drop_duplicates([*self.kinds, "seed"], keep="last")
        counts = trainings["status"].value_counts().to_dict()
        listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        lines = [f"{self.file}: {len(trainings)} trainings of {len(cells)} cells: {listed}"]
        for factors, rows in cells:
            if absent := sorted(set(self.seeds) - set(rows["seed"])):
                lines.append(f"missing: {describe_settings(factors)}: seed {', '.join(map(str, absent))}")
        return lines


def read_trainings(asked: RunsTable) -> Trainings:
    """Read a table and check every row; raise TableError for the first problem."""
    table = _read(asked.file)
    given = (asked.factors if isinstance(asked.factors, str) else ",".join(asked.factors)).split(",")
    factors = dict(map(_renamed, given))
    if len(factors) < len(given):
        raise TableError(f"--factors {','.join(given)}: a name is there twice; remove one")
    columns, metrics = _read_metrics(asked.metrics)
    for name in factors:
        _check_name(name, columns)

    rows = pd.DataFrame(index=table.index)
    for name, column in factors.items():
        rows[name] = _factor(_column(table, column, "--factors"))
    rows["seed"] = 0 if asked.seed is None else _counts(_column(table, asked.seed, "--seed"), 18)
    if asked.epoch is not None:
        rows["epoch"] = _counts(_column(table, asked.epoch, "--epoch"), 9)
    for name, column in columns.items():
        rows[name] = _figures(_column(table, column, "--metric"), metrics[name])

    objective = next(iter(metrics.values()))
    judged = {name: columns[name] for name in columns_of([objective], "val", "test") if name in columns}
    if not judged:
        raise TableError(f"--metric {asked.metrics[0]}: give its column of validation or test data too")
    _add_statuses(rows, None if asked.status is None else _column(table, asked.status, "--status"), judged)

    keys = [*factors, *rows.columns.intersection(["seed", "epoch"])]
    _check_once(rows, keys, table.drop(columns=[*factors.values(), *columns.values()]))
    if asked.epoch is not None:
        rows = rows.sort_values("epoch", kind="stable")
    kinds = {name: type(rows[name].iloc[0]) for name in factors}
    return Trainings(Path(asked.file).name, rows, kinds, tuple(dict.fromkeys(metrics.values())), tuple(columns))


def _read(file: str) -> pd.DataFrame:
    """Return the table as text, with '' for nothing."""
    path = Path(file)
    try:
        path = path.expanduser()
        if path.suffix == ".parquet":
            table: pd.DataFrame = pq.read_table(path).to_pandas(ignore_metadata=True)
        elif path.suffix == ".csv":
            # As text: pandas would take a value such as None for a missing one.
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        else:
            raise TableError(f"{path}: expected a .csv or .parquet file")
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        problem = " ".join(str(error).split())
        raise TableError(f"{path} cannot be read: {problem}; expected a table with a header") from None
    if table.empty:
        raise TableError(f"{path} has no row; expected one per training")
    if not isinstance(table.index, pd.RangeIndex):
        raise TableError(f"{path}: its rows have more values than its header has names; name every column")
    texts: pd.DataFrame = table.astype(str).apply(lambda column: column.str.strip())
    return texts.mask(table.isna() | texts.isin(NOTHING), "")


def _renamed(text: str) -> tuple[str, str]:
    """Return the name and the column of NAME=COLUMN, or of a column that keeps its name."""
    name, _, column = text.partition("=")
    return name.strip(), (column or name).strip()


def _column(table: pd.DataFrame, given: str, option: str) -> Texts:
    column = _renamed(given)[1]
    if column not in table:
        raise TableError(f"{option} {given}: the table has no column {column!r}; {suggest(column, map(str, table))}")
    return table[column]


def _read_metrics(texts: Iterable[str]) -> tuple[dict[str, str], dict[str, Metric]]:
    """Return the column and the metric of each figure, such as val_accuracy."""
    columns: dict[str, str] = {}
    metrics: dict[str, Metric] = {}
    for text in texts:
        spec, *given = text.split(":")
        name, column = _renamed(spec)
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word and word not in TRACKER_WORDS]
        part = next((word for word in words if word in PARTS), None)
        if part is None:
            fix = f"write val_{words[-1]}={column}, or with train_ or test_" if words else "name a column"
            raise TableError(f"--metric {text}: of which part of the data is it? {fix}")
        words.remove(part)
        metric = _metric(text, "_".join(words), given, metrics.values())
        figure = f"{PARTS[part]}_{metric.name}"
        if figure in columns:
            raise TableError(f"--metric {text}: {columns[figure]} is {figure} already; give one of them another name")
        columns[figure], metrics[figure] = column, metric
    return columns, metrics


def _metric(text: str, name: str, given: Sequence[str], known: Iterable[Metric]) -> Metric:
    """Return the metric of COLUMN[:goal[:unit[:scale]]]; one of its columns says it."""
    same = next((metric for metric in known if metric.name == name), None)
    if same is not None and not given:
        return same
    if not given and LESS_IS_BETTER & set(name.split("_")):
        raise TableError(f"--metric {text}: is less better? write {text}:min or {text}:max")
    goal, unit, scale = [*given, *("max", "", "1")[len(given) :]][:3]
    try:
        # A goal that is given in vain is the usual one.
        metric = Metric(name, goal or "max", unit, float(scale))  # type: ignore[arg-type]
    except ValueError as error:
        fix = "expected [NAME=]COLUMN[:goal[:unit[:scale]]], such as val_nll=val_loss:min"
        raise TableError(f"--metric {text}: {error}; {fix}") from None
    if len(given) > 3 or same not in (None, metric):
        raise TableError(f"--metric {text}: say goal, unit and scale once, with the first column of {name}")
    return metric


def _check_name(name: str, figures: Iterable[str]) -> None:
    if name in RESERVED or name in figures or hasattr(ImportedSettings, name) or name in ImportedSettings.model_fields:
        raise TableError(f"--factors {name}: the name has another meaning in a study; write another_name={name}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        new = re.split(r"[^A-Za-z0-9_]", name)[-1] or "name"
        raise TableError(f"--factors {name}: expected letters, digits and '_'; write {new}={name}")


def _refuse(column: Texts, wrong: "pd.Series[bool]", expected: str) -> None:
    """Raise TableError if a row is wrong; it says which ones."""
    if wrong.any():
        value = column[wrong].iloc[0]
        found = repr(value) if value else "empty"
        raise TableError(f"{column.name} is {found} in {_in_words(column.index[wrong])}: expected {expected}")


def _in_words(index: "pd.Index[Any]") -> str:
    numbers = list(map(str, index + 1))
    if len(numbers) > 3:
        numbers = [*numbers[:3], f"{len(numbers) - 3} more"]
    listed = " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))
    return f"row{'s' if len(index) > 1 else ''} {listed} below the header"


def _factor(column: Texts) -> "pd.Series[Any]":
    """Return the values as switches or numbers if all of them are, else as words."""
    _refuse(column, column == "", "a value in every row; fill the column, for example with none")
    switches, numbers = column.str.lower(), pd.to_numeric(column, errors="coerce")
    found: pd.Series[Any] = column
    if switches.isin(["true", "false"]).all():
        found = switches == "true"
    elif np.isfinite(numbers).all():
        # Without a negative zero, which would be another cell.
        found = numbers if numbers.dtype == "int64" else numbers.astype(float) + 0.0
    return found.astype(object)


def _counts(column: Texts, digits: int) -> "pd.Series[int]":
    """Return seeds or epochs, of so many digits at most."""
    # pandas writes whole numbers as 3.0 if one of the column is missing.
    whole = column.str.fullmatch(rf"\d{{1,{digits}}}(?:\.0*)?")
    _refuse(column, ~whole, f"a whole number, 0 or more, of at most {digits} digits")
    return column.str.partition(".")[0].astype(int)


def _figures(column: Texts, metric: Metric) -> "pd.Series[float]":
    """Return the values of a metric, NaN if there is none."""
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(column, numbers.isna() & (column != ""), "a number, or nothing if it failed")
    values = numbers.astype(float).replace([math.inf, -math.inf], math.nan)
    if metric.unit == "%" and metric.scale == 1 and values.abs().max() <= 1:
        one = f"{column.name}:{metric.goal}:%"
        raise TableError(f"{column.name} is at most {values.max():g} %: if it is a fraction, write {one}:100")
    return values


def _add_statuses(rows: pd.DataFrame, column: "Texts | None", judged: Mapping[str, str]) -> None:
    """Say how each training ended: as the column says, and without a figure it has failed."""
    rows["status"] = "completed"
    rows["error"] = None
    if column is not None:
        words = column.str.lower()
        _refuse(column, ~words.isin(STATUSES), f"one of {', '.join(STATUSES)}; leave out what has not ended")
        rows["status"] = words.map(STATUSES)
        rows.loc[rows["status"] == "failed", "error"] = f"{column.name} is " + column
    for figure, name in judged.items():
        lacking = rows[figure].isna() & (rows["status"] == "completed")
        rows.loc[lacking, ["status", "error"]] = ["failed", f"{name} is no number"]


def _check_once(rows: pd.DataFrame, keys: Sequence[str], others: pd.DataFrame) -> None:
    """Refuse trainings that are there twice, and say in which other columns they differ."""
    twice = rows.loc[rows.duplicated(keys, keep=False), keys]
    if twice.empty:
        return
    first = twice.iloc[0]
    same = twice.index[(twice == first).all(axis=1)]
    varied = others.loc[same].nunique()
    differing = ", ".join(map(str, varied.index[varied > 1][:3]))
    fix = f"they differ in {differing}: is that a factor?" if differing else "remove all but one"
    raise TableError(f"{_in_words(same)} all have {describe_settings(dict(zip(keys, first, strict=True)))}; {fix}")
