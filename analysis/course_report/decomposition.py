"""How much of the report's gain from dropout comes from the learning rate, which its code raised with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, format_setting, summarise_cells
from analysis.statistics.intervals import Estimate, Values, estimate
from analysis.statistics.selection import matching

PARTS = ("rate", "dropout", "interaction", "both")
HEADINGS = {
    "rate": "learning rate alone",
    "dropout": "dropout alone",
    "interaction": "interaction",
    "both": "total",
    "weight": "weight 10 to 1",
}
# Accuracies by seed ``[n]`` of four cells, by dropout and learning rate.
Crossing = Mapping[tuple[float, float], Values]


@dataclass(frozen=True)
class Decomposition:
    """What raising learning rate and dropout brings, at one auxiliary weight and with or without sharing.

    ``rates`` and ``dropouts`` are the lower and the higher value. The estimates are differences in test
    accuracy, fractions, paired by seed. ``both`` is rate + dropout + interaction.
    """

    sharing: bool
    aux_weight: float
    rates: tuple[float, float]
    dropouts: tuple[float, float]
    rate: Estimate
    dropout: Estimate
    interaction: Estimate
    both: Estimate


@dataclass(frozen=True)
class Steps:
    """The report's step, from weight 10 without dropout to weight 1 with dropout (both with sharing), taken apart.

    ``both`` is the whole step: weight + rate + dropout + interaction.
    """

    weight: Estimate
    rate: Estimate
    dropout: Estimate
    interaction: Estimate
    both: Estimate


def _crossing(cells: pd.DataFrame, accuracy: pd.DataFrame) -> Crossing | None:
    """Return the accuracies of the complete cells if they are a two-by-two crossing."""
    complete = cells[cells["state"] == "complete"]
    if len(complete) != 4:
        return None
    found = {}
    for row in complete.to_dict("records"):
        found[row["dropout"], row["learning_rate"]] = accuracy.loc[row["cell_id"]].to_numpy(float)
    # Four different pairs of two values each are all the combinations there are.
    dropouts = {dropout for dropout, _ in found}
    rates = {rate for _, rate in found}
    return found if len(dropouts) == len(rates) == 2 and len(found) == 4 else None


def _parts(values: Crossing) -> dict[str, Values]:
    """Return the differences by seed ``[n]`` of each of PARTS."""
    off, low = min(values)
    on, high = max(values)
    plain = values[off, low]
    parts = {"rate": values[off, high] - plain, "dropout": values[on, low] - plain, "both": values[on, high] - plain}
    return parts | {"interaction": parts["both"] - parts["rate"] - parts["dropout"]}


def decompositions_data(data: StudyData, rng: np.random.Generator) -> tuple[Decomposition, ...]:
    """Take apart the comparator's gain for each sharing and weight at which dropout and learning rate are crossed."""
    cells = summarise_cells(data)
    accuracy = by_seed(data, "test_accuracy")
    comparators = cells[cells["model"] == "comparator"]
    rows = []
    for sharing, weight in product((False, True), sorted(set(comparators["aux_weight"].tolist()))):
        group = matching(comparators, {"sharing": sharing, "aux_weight": weight})
        values = _crossing(group, accuracy)
        if values is None:
            continue
        (off, low), (on, high) = min(values), max(values)
        parts = {name: estimate(part, rng) for name, part in _parts(values).items()}
        rows.append(Decomposition(sharing, weight, (low, high), (off, on), **parts))
    return tuple(rows)


def steps_data(data: StudyData, rng: np.random.Generator) -> Steps | None:
    """Take the report's step apart; None if the study lacks one of its cells."""
    cells = summarise_cells(data)
    accuracy = by_seed(data, "test_accuracy")
    shared = cells[(cells["model"] == "comparator") & cells["sharing"]]
    before = _crossing(shared[shared["aux_weight"] == 10], accuracy)
    after = _crossing(shared[shared["aux_weight"] == 1], accuracy)
    if before is None or after is None or before.keys() != after.keys():
        return None
    # The step goes by way of the plain cell of weight 1: first the weight, then rate and dropout.
    parts = _parts(after)
    parts["weight"] = after[min(after)] - before[min(before)]
    parts["both"] = parts["both"] + parts["weight"]
    return Steps(**{name: estimate(part, rng) for name, part in parts.items()})


def steps_in_words(steps: Steps) -> str:
    """Say what each part of the report's step brings."""

    def words(found: Estimate) -> str:
        return f"{percent(found.mean, sign=True)} ({interval(found.low, found.high, sign=True)})"

    return (
        f"From the best cell without dropout to the best with dropout, accuracy changes by {words(steps.both)} points. "
        f"Of these, the learning rate alone brings {words(steps.rate)}, dropout alone {words(steps.dropout)}, their "
        f"interaction {words(steps.interaction)}, and the change of the weight from 10 to 1 {words(steps.weight)}."
    )


def decomposition_sheet(study: str, rows: tuple[Decomposition, ...], steps: Steps | None) -> Sheet:
    """Put the parts into a table; the report's step is the last row."""
    lines: list[dict[str, Any]] = []
    for row in rows:
        line = {"sharing": row.sharing, "aux_weight": row.aux_weight, "n": row.both.n}
        lines.append(line | _ends(row, PARTS))
    parts: tuple[str, ...] = PARTS
    if steps is not None:
        parts = ("weight", *PARTS)
        lines.append({"sharing": True, "aux_weight": None, "n": steps.both.n} | _ends(steps, parts))
    return Sheet(
        name="dropout-or-rate",
        title="Dropout or learning rate",
        caption=(
            f"Points of test accuracy that a change of the learning rate ({_changes(row.rates for row in rows)}), of "
            f"dropout ({_changes(row.dropouts for row in rows)}) and of both brings, with 95 % t intervals, paired by "
            f"seed, not corrected for their number. Study {study}."
        ),
        columns=(
            Column("sharing", lambda row: format_setting(row["sharing"])),
            Column("weight", lambda row: "10 to 1" if row["aux_weight"] is None else f"{row['aux_weight']:g}"),
            *map(_column, parts),
            Column("n", lambda row: str(row["n"]), numeric=True),
        ),
        rows=tuple(lines),
    )


def _changes(ends: Iterable[tuple[float, float]]) -> str:
    """List the different changes from a lower to a higher value."""
    return "; ".join(f"{low:g} to {high:g}" for low, high in dict.fromkeys(ends))


def _ends(parts: Decomposition | Steps, names: tuple[str, ...]) -> dict[str, float]:
    ends = {}
    for name, end in product(names, ("mean", "low", "high")):
        ends[f"{name}_{end}"] = getattr(getattr(parts, name), end)
    return ends


def _column(part: str) -> Column:
    def text(row: Mapping[str, Any]) -> str:
        # Only the report's step has a change of the weight.
        if f"{part}_mean" not in row:
            return ""
        low, high = row[f"{part}_low"], row[f"{part}_high"]
        return f"{percent(row[f'{part}_mean'], sign=True)} ({interval(low, high, sign=True)})"

    return Column(HEADINGS[part], text, numeric=True)
