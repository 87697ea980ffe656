"""How much of the gain that the report gives to dropout is the learning rate's, which its code raised with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, summarise_cells
from analysis.statistics.intervals import Estimate, estimate
from analysis.statistics.selection import matching

PARTS = ("rate", "dropout", "interaction", "both")
HEADINGS = {
    "rate": "learning rate alone",
    "dropout": "dropout alone",
    "interaction": "interaction",
    "both": "all of it",
    "weight": "weight 10 to 1",
}


@dataclass(frozen=True)
class Decomposition:
    """What raising learning rate and dropout from their lower to their higher values gives, at one weight and sharing.

    Estimates of differences in test accuracy, fractions, paired by seed. ``both`` is rate + dropout + interaction.
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
    """The report's step, from weight 10 without dropout to weight 1 with it (with sharing), taken apart.

    ``both`` is the whole of it: weight + rate + dropout + interaction.
    """

    weight: Estimate
    rate: Estimate
    dropout: Estimate
    interaction: Estimate
    both: Estimate


def _crossing(cells: pd.DataFrame, accuracy: pd.DataFrame) -> dict[tuple[float, float], Any] | None:
    """Return accuracies by (dropout, learning rate) if the complete cells are a two by two crossing."""
    complete = cells[cells["state"] == "complete"]
    if len(complete) != 4:
        return None
    found = {
        (row["dropout"], row["learning_rate"]): accuracy.loc[row["cell_id"]].to_numpy(float)
        for row in complete.to_dict("records")
    }
    dropouts, rates = {dropout for dropout, _ in found}, {rate for _, rate in found}
    return found if len(dropouts) == len(rates) == 2 and len(found) == 4 else None


def _parts(values: Mapping[tuple[float, float], Any]) -> dict[str, Any]:
    """Return the differences ``[n]`` of PARTS."""
    (off, low), (on, high) = min(values), max(values)
    plain = values[off, low]
    parts = {"rate": values[off, high] - plain, "dropout": values[on, low] - plain, "both": values[on, high] - plain}
    return parts | {"interaction": parts["both"] - parts["rate"] - parts["dropout"]}


def decompositions_data(data: StudyData, rng: np.random.Generator) -> tuple[Decomposition, ...]:
    """Take apart every sharing and weight of the comparator for which dropout and learning rate are crossed."""
    cells, accuracy = summarise_cells(data), by_seed(data, "test_accuracy")
    rows = []
    comparators = cells[cells["model"] == "comparator"]
    for sharing, weight in product((False, True), sorted(set(comparators["aux_weight"].tolist()))):
        group = matching(comparators, {"sharing": sharing, "aux_weight": weight})
        if (values := _crossing(group, accuracy)) is not None:
            (off, low), (on, high) = min(values), max(values)
            parts = {name: estimate(part, rng) for name, part in _parts(values).items()}
            rows.append(Decomposition(sharing, weight, (low, high), (off, on), **parts))
    return tuple(rows)


def steps_data(data: StudyData, rng: np.random.Generator) -> Steps | None:
    """Take the report's step apart; None where the study lacks a cell of it."""
    cells, accuracy = summarise_cells(data), by_seed(data, "test_accuracy")
    shared = cells[(cells["model"] == "comparator") & cells["sharing"]]
    before, after = (_crossing(shared[shared["aux_weight"] == weight], accuracy) for weight in (10, 1))
    if before is None or after is None or before.keys() != after.keys():
        return None
    parts = _parts(after)
    parts["weight"] = after[min(after)] - before[min(before)]
    parts["both"] = parts["both"] + parts["weight"]
    return Steps(**{name: estimate(part, rng) for name, part in parts.items()})


def decomposition_sheet(study: str, rows: tuple[Decomposition, ...], steps: Steps | None) -> Sheet:
    """Put it into a table; the report's step is the last row."""
    lines: list[dict[str, Any]] = [
        {"sharing": row.sharing, "aux_weight": row.aux_weight, "n": row.both.n} | _ends(row, PARTS) for row in rows
    ]
    if steps is not None:
        step = _ends(steps, ("weight", *PARTS))
        lines.append({"sharing": True, "aux_weight": None, "n": steps.both.n} | step)
    rates = "; ".join(f"{low:g} to {high:g}" for low, high in dict.fromkeys(row.rates for row in rows))
    dropouts = "; ".join(f"{off:g} to {on:g}" for off, on in dict.fromkeys(row.dropouts for row in rows))
    return Sheet(
        name="dropout-or-rate",
        title="Dropout or learning rate",
        caption=(
            f"Points of test accuracy that the learning rate ({rates}), dropout ({dropouts}) and both bring, with 95 % "
            f"t intervals, paired by seed, not corrected for their number. Study {study}."
        ),
        columns=(
            Column("sharing", lambda row: "on" if row["sharing"] else "off"),
            Column("weight", lambda row: "10 to 1" if row["aux_weight"] is None else f"{row['aux_weight']:g}"),
            *(_column(part) for part in (("weight",) if steps else ()) + PARTS),
            Column("n", lambda row: str(row["n"]), numeric=True),
        ),
        rows=tuple(lines),
    )


def _ends(row: Any, parts: tuple[str, ...]) -> dict[str, float]:
    return {f"{p}_{end}": getattr(getattr(row, p), end) for p in parts for end in ("mean", "low", "high")}


def _column(part: str) -> Column:
    def text(row: Mapping[str, Any]) -> str:
        if f"{part}_mean" not in row:
            return ""
        low, high = row[f"{part}_low"], row[f"{part}_high"]
        return f"{percent(row[f'{part}_mean'], sign=True)} ({interval(low, high, sign=True)})"

    return Column(HEADINGS[part], text, numeric=True)
