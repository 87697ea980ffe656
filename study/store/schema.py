"""The columns of the store's two datasets, ``trials`` and ``epochs``."""

import pyarrow as pa

LAST_EPOCH = ("val_loss", "val_accuracy", "test_accuracy", "test_digit_accuracy")


AT_THE_END = ("train_accuracy", "train_digit_accuracy")  # of a training that was not cut short


REPORTED_SETTINGS = ("sharing", "aux_weight", "dropout")  # of the report's networks


FINISHED = ("completed", "converged")


_text, _real, _count, _time = pa.string(), pa.float64(), pa.int32(), pa.timestamp("us", tz="UTC")


TRIALS = pa.schema(
    {
        **dict.fromkeys(("study", "cell_id", "trial_id", "model"), _text),
        "sharing": pa.bool_(),
        **dict.fromkeys(("aux_weight", "dropout", "learning_rate"), _real),
        "seed": pa.int64(),
        "status": _text,
        **dict.fromkeys(("epochs", "best_epoch"), _count),
        **dict.fromkeys(LAST_EPOCH, _real),
        **dict.fromkeys(("best_test_accuracy", "best_test_digit_accuracy", "test_accuracy_by_probability"), _real),
        **dict.fromkeys((*AT_THE_END, "train_time_s"), _real),
        **dict.fromkeys(("device", "error"), _text),
        **dict.fromkeys(("started_at", "finished_at"), _time),
    }
)


EPOCHS = pa.schema(
    {
        **dict.fromkeys(("cell_id", "trial_id"), _text),
        "seed": pa.int64(),
        "epoch": _count,
        **dict.fromkeys(("learning_rate", "train_loss", *LAST_EPOCH), _real),
    }
)


SCHEMA_VERSION = 1


# Where a trial has rows in several parts, the one with the lowest rank counts.
RANK = {"completed": 0, "converged": 0, "pruned": 1, "failed": 2}
