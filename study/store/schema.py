"""The types of the columns of ``trials`` and ``epochs``, whose names are in analysis/stored.py."""

import pyarrow as pa

from analysis.stored import EPOCH_COLUMNS, SETTING_COLUMNS, TRIAL_COLUMNS

_OF_SETTINGS = {str: pa.string(), bool: pa.bool_(), float: pa.float64()}
_TYPES = {
    **dict.fromkeys(("study", "cell_id", "trial_id", "status", "device", "error"), pa.string()),
    **dict.fromkeys(("epochs", "best_epoch", "epoch"), pa.int32()),
    **dict.fromkeys(("started_at", "finished_at"), pa.timestamp("us", tz="UTC")),
    "seed": pa.int64(),
    **{name: _OF_SETTINGS[kind] for name, kind in SETTING_COLUMNS.items()},
}


def _schema(columns: tuple[str, ...]) -> pa.Schema:
    # What is not listed is a metric, or a time in seconds.
    return pa.schema({name: _TYPES.get(name, pa.float64()) for name in columns})


TRIALS = _schema(TRIAL_COLUMNS)
EPOCHS = _schema(EPOCH_COLUMNS)
