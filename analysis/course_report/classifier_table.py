"""What the digit classifier reaches, beside what the report says of it."""

import numpy as np

from analysis.course_report.reported import CLASSIFIER_DIGITS, CLASSIFIER_PAIRS
from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_settings, summarise_cells
from analysis.statistics.inference import estimate

# By metric: what it measures, and the report's figure, a fraction.
FIGURES = {
    "test_digit_accuracy": ("digits", CLASSIFIER_DIGITS),
    "test_accuracy": ("pairs, by rule: the likeliest digits are compared", CLASSIFIER_PAIRS),
    "test_accuracy_by_probability": ("pairs, by the probability that the first is not the larger", None),
}


def classifier_sheet(data: StudyData) -> Sheet | None:
    """Show what the complete digit classifiers reach; None if there are none."""
    cells = summarise_cells(data)
    cells = cells[(cells["model"] == "classifier") & (cells["state"] == "complete")]
    rows = []
    for cell in cells.to_dict("records"):
        for metric, (words, reported) in FIGURES.items():
            values = by_seed(data, metric).loc[cell["cell_id"]].to_numpy(float)
            # Older stores lack the accuracy by probability.
            if np.isnan(values).any():
                continue
            found = estimate(values)
            row = {"cell_id": cell["cell_id"], "cell": describe_settings(cell, ("dropout", "learning_rate"))}
            row |= {"metric": metric, "words": words, "n": found.n, "mean": found.mean, "std": found.std}
            rows.append(row | {"low": found.low, "high": found.high, "reported": reported})
    if not rows:
        return None
    return Sheet(
        name="classifier",
        title="The digit classifier",
        caption="Test accuracy in percent over n seeds, with 95 % t intervals.",
        columns=(
            Column("cell", lambda row: row["cell"]),
            Column("figure", lambda row: row["words"]),
            Column("mean", lambda row: percent(row["mean"]), numeric=True),
            Column("std", lambda row: percent(row["std"]), numeric=True),
            Column("95 % interval", lambda row: interval(row["low"], row["high"]), numeric=True),
            Column("n", lambda row: str(row["n"]), numeric=True),
            Column("report", lambda row: percent(row["reported"]), numeric=True),
        ),
        rows=tuple(rows),
    )
