"""Table I of the report from a study's rows, and the tables beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from analysis.course_report.reported import (
    AUXILIARY_AND_DROPOUT,
    AUXILIARY_OFF,
    AUXILIARY_ON,
    ROUNDS,
    ROWS,
    TABLE1,
    Reported,
)
from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, percent
from analysis.statistics.cells import describe_settings, describe_state, summarise_cells
from analysis.statistics.selection import best_cell

CAPTION = (
    "Test accuracy in percent of the last epoch's network: mean ± standard deviation over n seeds; "
    f"the report's over {ROUNDS} rounds."
)
SETTINGS = ("aux_weight", "dropout", "learning_rate")
ABSENT = 20  # cells that people read of in a note to Table I
SELECTION = (
    "Where cells competed, the one with the highest mean validation accuracy is shown; test accuracy chose none."
)


@dataclass(frozen=True)
class Table1Entry:
    """One of the six entries. Accuracies are fractions in [0, 1].

    ``chosen`` holds the chosen cell's ``cell_id``, SETTINGS, and every other factor in which the candidates differ.
    Where no candidate is complete it is empty, ``mean`` and ``std`` are None, ``n`` is 0, and ``state`` says why; else
    ``state`` is ``complete``. ``std`` is None for one seed. ``competed`` and ``weights`` count the complete candidate
    cells and their different auxiliary weights.
    """

    row: str
    sharing: bool
    state: str
    mean: float | None
    std: float | None
    n: int
    chosen: Mapping[str, Any]
    competed: int
    weights: int
    reported: Reported


@dataclass(frozen=True)
class Table1:
    """Table I of a study: six entries, row by row, sharing off before on; ``notes`` are its footnotes."""

    study: str
    entries: tuple[Table1Entry, ...]
    notes: tuple[str, ...]


def table1_data(data: StudyData) -> Table1:
    """Choose a cell for each entry and return its estimates.

    The complete cells of an entry, which differ in auxiliary weight and perhaps in further settings, compete by mean
    validation accuracy; of equals, the smaller weight wins. Test accuracy has no part in it.
    """
    cells = summarise_cells(data)
    cells = cells[cells["model"] == "comparator"]
    conditions = {
        AUXILIARY_OFF: (cells["aux_weight"] == 0) & (cells["dropout"] == 0),
        AUXILIARY_ON: (cells["aux_weight"] > 0) & (cells["dropout"] == 0),
        AUXILIARY_AND_DROPOUT: (cells["aux_weight"] > 0) & (cells["dropout"] > 0),
    }
    factors = list(dict.fromkeys([*SETTINGS, *data.info.roles]))
    notes = [SELECTION]
    entries = []
    for row in ROWS:
        for sharing in (False, True):
            candidates = cells[conditions[row] & (cells["sharing"] == sharing)]
            differ = [name for name in factors if candidates[name].nunique() > 1]
            entries.append(_entry(row, sharing, candidates, differ))
            absent = candidates[candidates["state"] != "complete"]
            if len(candidates) > 1 and len(absent):
                first = absent.head(ABSENT).to_dict("records")
                listed = "; ".join(f"{describe_settings(cell, differ)} ({describe_state(cell)})" for cell in first)
                listed += f"; and {len(absent) - ABSENT} more" if len(absent) > ABSENT else ""
                notes.append(f"Did not compete for {_place(entries[-1])}: {listed}.")
    return Table1(data.name, tuple(entries), tuple(notes))


def _entry(row: str, sharing: bool, candidates: pd.DataFrame, differ: list[str]) -> Table1Entry:
    best = best_cell(candidates)
    if best is None:
        states = dict.fromkeys(describe_state(cell) for cell in candidates.to_dict("records"))
        state = "; ".join(states) or "not in this study"
        return Table1Entry(row, sharing, state, None, None, 0, {}, 0, 0, TABLE1[row, sharing])
    complete = candidates[candidates["state"] == "complete"]
    return Table1Entry(
        row=row,
        sharing=sharing,
        state="complete",
        mean=best["test_accuracy_mean"],
        std=None if pd.isna(best["test_accuracy_std"]) else best["test_accuracy_std"],
        n=best["n"],
        chosen={name: best[name] for name in ("cell_id", *SETTINGS, *differ)},
        competed=len(complete),
        weights=complete["aux_weight"].nunique(),
        reported=TABLE1[row, sharing],
    )


def _place(entry: Table1Entry) -> str:
    return f"{entry.row}, sharing {'on' if entry.sharing else 'off'}"


def _numbers(entry: Table1Entry) -> str:
    """Write the entry's estimate in percent, or its state."""
    if entry.mean is None:
        return entry.state
    spread = "" if entry.std is None else f" ± {percent(entry.std)}"
    return f"{percent(entry.mean)}{spread} (n = {entry.n})"


def _reported(entry: Table1Entry) -> str:
    return f"{entry.reported.mean:.1f} ± {entry.reported.std:.1f}"


def _settings(entry: Table1Entry) -> str:
    """Name the chosen cell by what is not off, and how many it was the best of; empty where there is none."""
    off = {name for name in ("aux_weight", "dropout") if entry.chosen.get(name) == 0}
    text = describe_settings(entry.chosen, [name for name in entry.chosen if name not in {"cell_id", *off}])
    if entry.competed > 1:
        kind = "weights" if entry.competed == entry.weights else "cells"
        text += f"; best of {entry.competed} {kind}"
    return text


def _by_row(table: Table1) -> list[tuple[Table1Entry, Table1Entry]]:
    return list(zip(table.entries[::2], table.entries[1::2], strict=True))


def table1_rich(table: Table1) -> Table:
    """Draw the table for the screen; it fits 80 columns."""
    caption = Text("\n".join([CAPTION, *table.notes]))
    drawn = Table(title=Text(f"Table I of {table.study}"), caption=caption, caption_justify="left", show_lines=True)
    for heading in ("", "sharing off", "sharing on"):
        drawn.add_column(heading)
    for entries in _by_row(table):
        texts = [Text("\n".join(filter(None, (_numbers(e), f"report {_reported(e)}", _settings(e))))) for e in entries]
        drawn.add_row(entries[0].row, *texts)
    return drawn


def table1_sheet(table: Table1) -> Sheet:
    """Put the table into rows, one an entry."""
    rows = tuple(
        {
            "row": entry.row,
            "sharing": entry.sharing,
            "state": entry.state,
            "n": entry.n,
            "test_accuracy_mean": entry.mean,
            "test_accuracy_std": entry.std,
            "reported_mean": round(entry.reported.mean / 100, 4),
            "reported_std": round(entry.reported.std / 100, 4),
            "reported_n": entry.reported.n,
            "cells_competed": entry.competed,
            "weights_competed": entry.weights,
            **dict.fromkeys(("cell_id", *SETTINGS)),
            **entry.chosen,
        }
        for entry in table.entries
    )
    entries = {(entry.row, entry.sharing): entry for entry in table.entries}

    def entry_of(row: Mapping[str, Any]) -> Table1Entry:
        return entries[row["row"], row["sharing"]]

    return Sheet(
        name="table1",
        title="Table I",
        caption=CAPTION,
        columns=(
            Column("", lambda row: row["row"]),
            Column("sharing", lambda row: "on" if row["sharing"] else "off"),
            Column("test accuracy, %", lambda row: _numbers(entry_of(row)), numeric=True),
            Column("report", lambda row: _reported(entry_of(row)), numeric=True),
            Column("chosen cell", lambda row: _settings(entry_of(row))),
        ),
        rows=rows,
        notes=table.notes,
    )
