"""The column types of ``trials`` and ``epochs``; analysis/stored.py has their names."""

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from analysis.parts import TYPES
from analysis.stored import EPOCH_COLUMNS, SETTING_COLUMNS, TRIAL_COLUMNS
from trainables.config import TrainingSettings

SETTING_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


def trials_schema(cell: TrainingSettings, factors: Iterable[str]) -> pa.Schema:
    """Return the columns of a cell's rows of ``trials``: of every study, of its metrics, and of its factors."""
    # By the setting and not by the value: all cells of a study have the same, also if one has None.
    types = {name: SETTING_TYPES[cell.kind_of(name)] for name in factors}
    further = [name for name in types if name not in SETTING_COLUMNS]
    usual = [column for column in TRIAL_COLUMNS if column in types or _is_usual(cell, column)]
    return _schema((*_with_metrics(usual, cell.trial_figures()), *further), types)


def _is_usual(cell: TrainingSettings, column: str) -> bool:
    """Tell whether a column can have its usual type: your own model may call something else by its name."""
    usual = SETTING_COLUMNS.get(column)
    if usual is None or column not in type(cell).model_fields:
        return True
    # Without this column its file goes with others, in which the setting is a factor of its own type.
    return cell.kind_of(column) in ((float, int) if usual is float else (usual,))


def epochs_schema(cell: TrainingSettings) -> pa.Schema:
    """Return the columns of a cell's rows of ``epochs``."""
    return _schema(_with_metrics(EPOCH_COLUMNS, cell.epoch_figures()), {})


def _with_metrics(columns: Iterable[str], metrics: Iterable[str]) -> Iterator[str]:
    for column in columns:
        yield column
        if column == "val_loss":
            yield from metrics


def _schema(columns: Iterable[str], types: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema([(column, types.get(column) or _type_of(column)) for column in columns])


def _type_of(column: str) -> pa.DataType:
    if column in SETTING_COLUMNS:
        return SETTING_TYPES[SETTING_COLUMNS[column]]
    # What has no other type is a metric, or a time in seconds.
    return TYPES.get(column, pa.float64())
