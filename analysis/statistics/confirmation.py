"""Selection and confirmation side by side: what the chosen cells reached when chosen, and with fresh seeds."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_settings, summarise_cells
from analysis.statistics.contrasts import contrasts_data
from analysis.statistics.intervals import Estimate, Measure, compare, estimate
from analysis.statistics.selection import fixed_contrasts


@dataclass(frozen=True)
class Confirmed:
    """A figure of the study and the same of its confirmation, fractions.

    ``difference``, ``low`` and ``high`` are confirmation less selection with its 95 % Welch interval; ``confirmed`` and
    they are None where the confirmation has no such figure yet.
    """

    what: str
    metric: str
    selected: Estimate
    confirmed: Estimate | None
    difference: float | None
    low: float | None
    high: float | None


def confirmed_cells(data: StudyData, confirmation: StudyData, rng: np.random.Generator) -> tuple[Confirmed, ...]:
    """Compare mean validation and test accuracy of every cell that the confirmation has."""
    cells = summarise_cells(data)
    again = summarise_cells(confirmation).set_index("cell_id")["state"]
    rows = []
    for metric in ("val_accuracy", "test_accuracy"):
        first, second = by_seed(data, metric), by_seed(confirmation, metric)
        for cell in cells[(cells["state"] == "complete") & cells["cell_id"].isin(again.index)].to_dict("records"):
            ident = cell["cell_id"]
            fresh = second.loc[ident] if again[ident] == "complete" else None
            rows.append(_compared(describe_settings(cell, data.info.roles), metric, first.loc[ident], fresh, rng))
    return tuple(rows)


def confirmed_contrasts(data: StudyData, confirmation: StudyData, rng: np.random.Generator) -> tuple[Confirmed, ...]:
    """Compare the study's contrasts between the same cells."""
    first = {contrast.name: contrast for contrast in contrasts_data(data, rng)}
    second = {contrast.name: contrast for contrast in contrasts_data(confirmation, rng)}
    names = [contrast["name"] for contrast in fixed_contrasts(data)]
    rows = []
    for name in names:
        selected = first[name].estimate
        assert selected is not None
        fresh = second[name].estimate if name in second else None
        rows.append(_pair(name, "difference", selected, fresh))
    return tuple(rows)


def _compared(what: str, metric: str, first: Any, second: Any, rng: np.random.Generator) -> Confirmed:
    selected = estimate(first.to_numpy(float), rng)
    return _pair(what, metric, selected, None if second is None else estimate(second.to_numpy(float), rng))


def _pair(what: str, metric: str, selected: Estimate, confirmed: Estimate | None) -> Confirmed:
    if confirmed is None or min(selected.n, confirmed.n) < 2:
        return Confirmed(what, metric, selected, confirmed, None, None, None)
    measures = [Measure(e.mean, e.std / sqrt(e.n), e.n - 1) for e in (confirmed, selected)]
    return Confirmed(what, metric, selected, confirmed, *compare(*measures))


def confirmation_sheet(data: StudyData, confirmation: StudyData, rng: np.random.Generator) -> Sheet:
    """Put contrasts and cells into a table; ``rng`` draws the bootstrap intervals."""
    rows = [*confirmed_contrasts(data, confirmation, rng), *confirmed_cells(data, confirmation, rng)]
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {"what": row.what, "metric": row.metric}
        for side in ("selected", "confirmed"):
            found = getattr(row, side)
            for field in ("n", "mean", "std", "low", "high"):
                line[f"{side}_{field}"] = None if found is None else getattr(found, field)
        lines.append(line | {"difference": row.difference, "low": row.low, "high": row.high})
    return Sheet(
        name="confirmation",
        title="Selection and confirmation",
        caption=(
            "The cells that selection chose, in the study and in its confirmation with fresh seeds: percent, and "
            "points for contrasts, with 95 % t intervals. The last column is confirmation less selection. Study "
            f"{data.name}."
        ),
        columns=(
            Column("cell or contrast", lambda row: row["what"]),
            Column("figure", lambda row: METRICS[row["metric"]]),
            _side("selected"),
            _side("confirmed"),
            Column("difference", _difference, numeric=True),
        ),
        rows=tuple(lines),
    )


METRICS = {"val_accuracy": "validation", "test_accuracy": "test", "difference": "test, paired"}


def _side(side: str) -> Column:
    def text(row: Any) -> str:
        if row[f"{side}_mean"] is None:
            return ""
        sign = row["metric"] == "difference"
        ends = interval(row[f"{side}_low"], row[f"{side}_high"], sign)
        return f"{percent(row[f'{side}_mean'], sign)} ({ends}), n = {row[f'{side}_n']}"

    return Column({"selected": "selection", "confirmed": "confirmation"}[side], text, numeric=True)


def _difference(row: Any) -> str:
    if row["difference"] is None:
        return ""
    return f"{percent(row['difference'], sign=True)} ({interval(row['low'], row['high'], sign=True)})"
