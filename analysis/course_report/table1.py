"""Table I of the course report from a study's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
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
from analysis.statistics.cells import (
    describe_settings,
    describe_state,
    describe_states,
    format_setting,
    summarise_cells,
)
from analysis.statistics.selection import best_cell

CAPTION = (
    "Test accuracy in percent at the last epoch: mean ± standard deviation over n seeds; "
    f"the report's is over {ROUNDS} rounds."
)
SETTINGS = ("aux_weight", "dropout", "learning_rate")
LISTED = 20  # a note to Table I names no more cells than that
SELECTION = (
    "If cells competed, the one with the highest mean validation accuracy is shown; test accuracy was not used to "
    "choose."
)


@dataclass(frozen=True)
class Table1Entry:
    """One of the six entries. Accuracies are fractions in [0, 1].

    ``chosen`` has the chosen cell's ``cell_id``, SETTINGS, and other factors in which the candidates
    differ; it is empty if no candidate is complete, and ``state`` says why. ``std`` is None for one seed
    too. ``competed`` and ``weights`` count the complete candidates and their different auxiliary weights.
    """

    row: str
    sharing: bool
    reported: Reported
    state: str
    mean: float | None = None
    std: float | None = None
    n: int = 0
    chosen: Mapping[str, Any] = field(default_factory=dict)
    competed: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Table1:
    """Table I of a study: six entries, row by row, sharing off before on; and its footnotes."""

    study: str
    entries: tuple[Table1Entry, ...]
    notes: tuple[str, ...]


def table1_data(data: StudyData) -> Table1:
    """Choose the best cell of each entry by mean validation accuracy (see ``best_cell``) and return its estimates."""
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
    for row, sharing in product(ROWS, (False, True)):
        candidates = cells[conditions[row] & (cells["sharing"] == sharing)]
        differ = [name for name in factors if candidates[name].nunique() > 1]
        entries.append(_entry(row, sharing, candidates, differ))
        # A single candidate's state stands in the table itself.
        absent = candidates[candidates["state"] != "complete"]
        if len(candidates) > 1 and len(absent):
            place = f"{row}, sharing {format_setting(sharing)}"
            notes.append(f"Did not compete for {place}: {_listed(absent, differ)}.")
    return Table1(data.name, tuple(entries), tuple(notes))


def _listed(cells: pd.DataFrame, names: Sequence[str]) -> str:
    """Name the first LISTED cells with their states, and count the others."""
    texts = []
    for cell in cells.head(LISTED).to_dict("records"):
        texts.append(f"{describe_settings(cell, names)} ({describe_state(cell)})")
    if len(cells) > LISTED:
        texts.append(f"and {len(cells) - LISTED} more")
    return "; ".join(texts)


def _entry(row: str, sharing: bool, candidates: pd.DataFrame, differ: list[str]) -> Table1Entry:
    best = best_cell(candidates)
    entry = Table1Entry(row, sharing, TABLE1[row, sharing], describe_states(candidates))
    if best is None:
        return entry
    complete = candidates[candidates["state"] == "complete"]
    return replace(
        entry,
        state="complete",
        mean=best["test_accuracy_mean"],
        std=None if pd.isna(best["test_accuracy_std"]) else best["test_accuracy_std"],
        n=best["n"],
        chosen={name: best[name] for name in ("cell_id", *SETTINGS, *differ)},
        competed=len(complete),
        weights=complete["aux_weight"].nunique(),
    )


def _numbers(entry: Table1Entry) -> str:
    """Write the entry's estimate in percent, or its state."""
    if entry.mean is None:
        return entry.state
    spread = "" if entry.std is None else f" ± {percent(entry.std)}"
    return f"{percent(entry.mean)}{spread} (n = {entry.n})"


def _settings(entry: Table1Entry) -> str:
    """Name what is not off in the chosen cell, and how many it was the best of."""
    unsaid = {"cell_id"}
    unsaid |= {name for name in ("aux_weight", "dropout") if entry.chosen.get(name) == 0}
    text = describe_settings(entry.chosen, [name for name in entry.chosen if name not in unsaid])
    if entry.competed > 1:
        kind = "weights" if entry.competed == entry.weights else "cells"
        text += f"; best of {entry.competed} {kind}"
    return text


def table1_rich(table: Table1) -> Table:
    """Draw the table for the screen; it fits 80 columns."""
    title = Text(f"Table I of {table.study}")
    caption = Text("\n".join([CAPTION, *table.notes]))
    headings = ("", "sharing off", "sharing on")
    drawn = Table(*headings, title=title, caption=caption, caption_justify="left", show_lines=True)
    # The entries come in pairs, sharing off and on, which are the two columns.
    for row, off, on in zip(ROWS, table.entries[::2], table.entries[1::2], strict=True):
        drawn.add_row(row, _on_screen(off), _on_screen(on))
    return drawn


def _on_screen(entry: Table1Entry) -> Text:
    lines = (_numbers(entry), f"report {entry.reported}", _settings(entry))
    return Text("\n".join(filter(None, lines)))


def table1_sheet(table: Table1) -> Sheet:
    """Put the table into rows, one per entry."""
    entries = {(entry.row, entry.sharing): entry for entry in table.entries}

    def entry_of(row: Mapping[str, Any]) -> Table1Entry:
        return entries[row["row"], row["sharing"]]

    return Sheet(
        name="table1",
        title="Table I",
        caption=CAPTION,
        columns=(
            Column("", lambda row: row["row"]),
            Column("sharing", lambda row: format_setting(row["sharing"])),
            Column("test accuracy, %", lambda row: _numbers(entry_of(row)), numeric=True),
            Column("report", lambda row: str(entry_of(row).reported), numeric=True),
            Column("chosen cell", lambda row: _settings(entry_of(row))),
        ),
        rows=tuple(map(_row, table.entries)),
        notes=table.notes,
    )


def _row(entry: Table1Entry) -> dict[str, Any]:
    return {
        "row": entry.row,
        "sharing": entry.sharing,
        "state": entry.state,
        "n": entry.n,
        "test_accuracy_mean": entry.mean,
        "test_accuracy_std": entry.std,
        # The report's numbers have one decimal; division would add noise in the last bits.
        "reported_mean": round(entry.reported.mean / 100, 4),
        "reported_std": round(entry.reported.std / 100, 4),
        "reported_n": entry.reported.n,
        "cells_competed": entry.competed,
        "weights_competed": entry.weights,
        **dict.fromkeys(("cell_id", *SETTINGS)),
        **entry.chosen,
    }
