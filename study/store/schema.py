"""The column types of ``trials`` and ``epochs``; analysis/stored.py has their names."""

import pyarrow as pa

from analysis.stored import EPOCH_COLUMNS, SETTING_COLUMNS, TRIAL_COLUMNS

SETTING_TYPES = {str: pa.string(), bool: pa.bool_(), float: pa.float64()}
TYPES = {
    **dict.fromkeys(("study", "cell_id", "trial_id", "status", "device", "error"), pa.string()),
    **dict.fromkeys(("epochs", "best_epoch", "epoch"), pa.int32()),
    **dict.fromkeys(("started_at", "finished_at"), pa.timestamp("us", tz="UTC")),
    "seed": pa.int64(),
}


def _type_of(column: str) -> pa.DataType:
    if column in SETTING_COLUMNS:
        return SETTING_TYPES[SETTING_COLUMNS[column]]
    # What has no other type is a metric, or a time in seconds.
    return TYPES.get(column, pa.float64())


TRIALS = pa.schema(zip(TRIAL_COLUMNS, map(_type_of, TRIAL_COLUMNS), strict=True))
EPOCHS = pa.schema(zip(EPOCH_COLUMNS, map(_type_of, EPOCH_COLUMNS), strict=True))
