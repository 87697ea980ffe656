"""Table I of the course report from a study's rows."""

from collections.abc import Mapping, Sequence
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
    f"the report's is over {ROUNDS} rounds, which share one draw of pairs."
)
SETTINGS = ("aux_weight", "dropout", "learning_rate")
LISTED = 20  # a note to Table I names no more cells than that
SELECTION = (
    "If cells competed, the one with the highest mean validation accuracy is shown; test accuracy was not used to "
    "choose."
)


def table1_sheet(data: StudyData) -> Sheet:
    """Choose the best cell of each entry by mean validation accuracy (see ``best_cell``), and put it into a row.

    A row has the chosen cell's SETTINGS and other factors in which the candidates differ; if no candidate is
    complete, ``state`` says why. Accuracies are fractions.
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
    rows = []
    for row, sharing in product(ROWS, (False, True)):
        candidates = cells[conditions[row] & (cells["sharing"] == sharing)]
        differ = [name for name in factors if candidates[name].nunique() > 1]
        rows.append({"row": row, "sharing": sharing} | _entry(candidates, differ, TABLE1[row, sharing]))
        # A single candidate's state stands in the table itself.
        absent = candidates[candidates["state"] != "complete"]
        if len(candidates) > 1 and len(absent):
            place = f"{row}, sharing {format_setting(sharing)}"
            notes.append(f"Did not compete for {place}: {_listed(absent, differ)}.")
    columns = (
        Column("", lambda row: row["row"]),
        Column("sharing", lambda row: format_setting(row["sharing"])),
        Column("test accuracy, %", _numbers, numeric=True),
        Column("report", lambda row: str(TABLE1[row["row"], row["sharing"]]), numeric=True),
        Column("chosen cell", _settings),
    )
    return Sheet("table1", "Table I", CAPTION, columns, tuple(rows), tuple(notes))


def _listed(cells: pd.DataFrame, names: Sequence[str]) -> str:
    """Name the first LISTED cells with their states, and count the others."""
    texts = []
    for cell in cells.head(LISTED).to_dict("records"):
        texts.append(f"{describe_settings(cell, names)} ({describe_state(cell)})")
    if len(cells) > LISTED:
        texts.append(f"and {len(cells) - LISTED} more")
    return "; ".join(texts)


def _entry(candidates: pd.DataFrame, differ: list[str], reported: Reported) -> dict[str, Any]:
    """Return the raw values of one entry."""
    complete = candidates[candidates["state"] == "complete"]
    best = best_cell(candidates) or {}
    std = best.get("test_accuracy_std")
    return {
        "state": "complete" if best else describe_states(candidates),
        "n": best.get("n", 0),
        "test_accuracy_mean": best.get("test_accuracy_mean"),
        "test_accuracy_std": None if pd.isna(std) else std,
        # The report's numbers have one decimal; division would add noise in the last bits.
        "reported_mean": round(reported.mean / 100, 4),
        "reported_std": round(reported.std / 100, 4),
        "reported_n": reported.n,
        "cells_competed": len(complete),
        "weights_competed": complete["aux_weight"].nunique(),
        **{name: best.get(name) for name in ("cell_id", *SETTINGS, *(differ if best else ()))},
    }


def _numbers(row: Mapping[str, Any]) -> str:
    """Write the entry's estimate in percent, or its state."""
    if row["test_accuracy_mean"] is None:
        return str(row["state"])
    spread = "" if row["test_accuracy_std"] is None else f" ± {percent(row['test_accuracy_std'])}"
    return f"{percent(row['test_accuracy_mean'])}{spread} (n = {row['n']})"


def _settings(row: Mapping[str, Any]) -> str:
    """Name what is not off in the chosen cell, and how many it was the best of."""
    if row["cell_id"] is None:
        return ""
    names = list(row)[list(row).index("cell_id") + 1 :]
    text = describe_settings(row, [name for name in names if name not in ("aux_weight", "dropout") or row[name] != 0])
    if row["cells_competed"] > 1:
        kind = "weights" if row["cells_competed"] == row["weights_competed"] else "cells"
        text += f"; best of {row['cells_competed']} {kind}"
    return text


def table1_rich(study: str, sheet: Sheet) -> Table:
    """Draw the table for the screen; it fits 80 columns."""
    title = Text(f"Table I of {study}")
    caption = Text("\n".join([CAPTION, *sheet.notes]))
    headings = ("", "sharing off", "sharing on")
    drawn = Table(*headings, title=title, caption=caption, caption_justify="left", show_lines=True)
    # The rows come in pairs, sharing off and on, which are the two columns.
    for row, off, on in zip(ROWS, sheet.rows[::2], sheet.rows[1::2], strict=True):
        drawn.add_row(row, _on_screen(off), _on_screen(on))
    return drawn


def _on_screen(row: Mapping[str, Any]) -> Text:
    lines = (_numbers(row), f"report {TABLE1[row['row'], row['sharing']]}", _settings(row))
    return Text("\n".join(filter(None, lines)))
