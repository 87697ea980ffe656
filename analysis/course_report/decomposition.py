"""How much of the report's gain from dropout comes from the learning rate, raised with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, format_setting, summarise_cells
from analysis.statistics.inference import Estimate, Values, estimate
from analysis.statistics.selection import matching

HEADINGS = {
    "weight": "weight 10 to 1",
    "rate": "learning rate alone",
    "dropout": "dropout alone",
    "interaction": "interaction",
    "both": "total",
}
# Accuracies by seed ``[n]`` of four cells, by dropout and learning rate.
Crossing = Mapping[tuple[float, float], Values]


@dataclass(frozen=True)
class Decomposition:
    """What raising learning rate and dropout brings, at one sharing and auxiliary weight.

    ``aux_weight`` is None for the report's step, from weight 10 without dropout to weight 1 with it.
    ``parts``, by the keys of HEADINGS, are differences in test accuracy, fractions, paired by seed; ``both`` is the
    sum of the others.
    """

    sharing: bool
    aux_weight: float | None
    parts: Mapping[str, Estimate]


def _crossing(data: StudyData, sharing: bool, aux_weight: float) -> Crossing | None:
    """Return the accuracies of the complete cells if they are a two-by-two crossing."""
    condition = {"model": "comparator", "sharing": sharing, "aux_weight": aux_weight, "state": "complete"}
    cells = matching(summarise_cells(data), condition)
    pairs = cells[["dropout", "learning_rate"]]
    # Four different pairs of two values each are all the combinations there are.
    if len(pairs) != 4 or pairs.duplicated().any() or pairs.nunique().tolist() != [2, 2]:
        return None
    accuracies = by_seed(data, "test_accuracy").loc[cells["cell_id"]].to_numpy(float)
    return dict(zip(pairs.itertuples(index=False, name=None), accuracies, strict=True))


def _decomposition(place: tuple[bool, float | None], values: Crossing, weight: Values | None = None) -> Decomposition:
    """Estimate the parts; ``place`` is sharing and weight, ``weight`` what a change of the weight brings ``[n]``."""
    (off, low), (on, high) = min(values), max(values)
    plain = values[off, low]
    parts = {"rate": values[off, high] - plain, "dropout": values[on, low] - plain, "both": values[on, high] - plain}
    parts["interaction"] = parts["both"] - parts["rate"] - parts["dropout"]
    if weight is not None:
        parts["weight"] = weight
        parts["both"] = parts["both"] + weight
    return Decomposition(*place, {name: estimate(part) for name, part in parts.items()})


def decompositions_data(data: StudyData) -> list[Decomposition]:
    """Take apart the gain at each sharing and weight at which dropout and rate are crossed."""
    cells = summarise_cells(data)
    weights = sorted(set(cells.loc[cells["model"] == "comparator", "aux_weight"].tolist()))
    rows = []
    for sharing, weight in product((False, True), weights):
        if (values := _crossing(data, sharing, weight)) is not None:
            rows.append(_decomposition((sharing, weight), values))
    return rows


def step_data(data: StudyData) -> Decomposition | None:
    """Take the report's step apart; None if the study lacks one of its cells."""
    before = _crossing(data, True, 10)
    after = _crossing(data, True, 1)
    if before is None or after is None or before.keys() != after.keys():
        return None
    # First the weight changes in the plain cell, then rate and dropout.
    return _decomposition((True, None), after, after[min(after)] - before[min(before)])


def step_in_words(study: str, step: Decomposition) -> str:
    """Say what each part of the report's step brings in a study."""
    words = {name: _points(found.mean, found.low, found.high) for name, found in step.parts.items()}
    return (
        f"From the best cell without dropout to the best with dropout, accuracy changes by {words['both']} points in "
        f"study {study} (n = {step.parts['both'].n}). Of these, the learning rate alone brings {words['rate']}, "
        f"dropout alone {words['dropout']}, their interaction {words['interaction']}, and the change of the weight "
        f"from 10 to 1 {words['weight']}."
    )


def _points(mean: float, low: float, high: float) -> str:
    return f"{percent(mean, sign=True)} ({interval(low, high, sign=True)})"


def decomposition_sheet(study: str, rows: Sequence[Decomposition]) -> Sheet:
    """Put the parts into a table."""
    # Only the report's step has a change of the weight.
    known = {name for row in rows for name in row.parts}
    return Sheet(
        name="dropout-or-rate",
        title="Dropout or learning rate",
        caption=(
            "Points of test accuracy that the higher learning rate, dropout and both bring, with 95 % t intervals, "
            f"paired by seed, not corrected for their number. Study {study}."
        ),
        columns=(
            Column("sharing", lambda row: format_setting(row["sharing"])),
            Column("weight", lambda row: "10 to 1" if row["aux_weight"] is None else f"{row['aux_weight']:g}"),
            *(_column(name) for name in HEADINGS if name in known),
            Column("n", lambda row: str(row["n"]), numeric=True),
        ),
        rows=tuple(map(_row, rows)),
    )


def _row(found: Decomposition) -> dict[str, Any]:
    row = {"sharing": found.sharing, "aux_weight": found.aux_weight, "n": found.parts["both"].n}
    for name in HEADINGS:
        if part := found.parts.get(name):
            row |= {f"{name}_mean": part.mean, f"{name}_low": part.low, f"{name}_high": part.high}
    return row


def _column(part: str) -> Column:
    def text(row: Mapping[str, Any]) -> str:
        if f"{part}_mean" not in row:
            return ""
        return _points(row[f"{part}_mean"], row[f"{part}_low"], row[f"{part}_high"])

    return Column(HEADINGS[part], text, numeric=True)
