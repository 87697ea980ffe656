"""Table I of the report from a study's rows, and the tables beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from analysis.estimates import (
    by_seed,
    describe_settings,
    describe_state,
    estimate,
    estimates,
    summarise_cells,
)
from analysis.load import StudyData
from analysis.reported import (
    AUXILIARY_AND_DROPOUT,
    AUXILIARY_OFF,
    AUXILIARY_ON,
    CLASSIFIER_DIGITS,
    CLASSIFIER_PAIRS,
    ROUNDS,
    ROWS,
    TABLE1,
    Reported,
)
from analysis.selection import best_cell
from analysis.sheets import Column, Sheet, interval, percent

CAPTION = (
    "Test accuracy in percent of the last epoch's network: mean ± standard deviation over n seeds; "
    f"the report's over {ROUNDS} rounds."
)
SETTINGS = ("aux_weight", "dropout", "learning_rate")
MEANS = {"val_accuracy": "validation", "test_digit_accuracy": "test digits"}
LISTED, ABSENT = 500, 20  # cells that people read of in the table of all cells, and in a note to Table I
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
    factors = list(dict.fromkeys([*SETTINGS, *data.info["roles"]]))
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


def cells_sheet(data: StudyData, rng: np.random.Generator) -> Sheet:
    """List every planned cell with its test accuracy; ``rng`` draws the bootstrap intervals."""
    cells, accuracy = summarise_cells(data), by_seed(data, "test_accuracy")
    complete = cells.loc[cells["state"] == "complete", "cell_id"]
    found = dict(zip(complete, estimates(accuracy.loc[complete].to_numpy(float), rng), strict=True))
    names = [name for name, role in data.info["roles"].items() if role != "fixed"]
    # What a rule ties to a factor, such as a learning rate, and fixed factors that are not.
    names += [name for name in data.settings if name not in names and cells[name].nunique() > 1]
    metrics = [name for name in ("val_accuracy", "test_digit_accuracy") if cells[f"{name}_mean"].notna().any()]
    rows = []
    for cell in cells.to_dict("records"):
        row = {name: cell[name] for name in ("cell_id", *data.settings)}
        row |= {"state": cell["state"], "n": cell["n"], "epochs": None, "error": None}
        if cell["state"] == "pruned":
            row["epochs"] = int(cell["pruned_epoch"])
        if isinstance(cell["error"], str):
            row["error"] = cell["error"]
        row["words"] = describe_state(cell)
        for field in ("mean", "std", "low", "high", "bca_low", "bca_high"):
            value = getattr(found[cell["cell_id"]], field) if cell["cell_id"] in found else None
            row[f"test_accuracy_{field}"] = value
        for metric in metrics:
            mean = cell[f"{metric}_mean"]
            row[f"{metric}_mean"] = None if pd.isna(mean) else mean
        rows.append(row)
    shown: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    if len(cells) > LISTED:
        best = cells["val_accuracy_mean"].sort_values(ascending=False, kind="stable").index[:LISTED]
        shown = tuple(sorted(best))
        notes = (f"Of {len(cells)} cells, the {LISTED} with the highest mean validation accuracy; the CSV has all.",)
    return Sheet(
        name="cells",
        title="All cells",
        caption=(
            "Accuracies in percent, means over n seeds; intervals are 95 % t intervals. The CSV has BCa bootstrap "
            "intervals too."
        ),
        columns=(
            *(Column(name.replace("_", " "), partial(_setting, name), setting=True) for name in names),
            Column("seeds", lambda row: row["words"]),
            Column("test", lambda row: percent(row["test_accuracy_mean"]), numeric=True),
            Column("std", lambda row: percent(row["test_accuracy_std"]), numeric=True),
            Column(
                "95 % interval",
                lambda row: interval(row["test_accuracy_low"], row["test_accuracy_high"]),
                numeric=True,
            ),
            *(Column(MEANS[name], partial(_mean, name), numeric=True) for name in metrics),
        ),
        rows=tuple(rows),
        notes=notes,
        shown=shown,
    )


def _mean(metric: str, row: Mapping[str, Any]) -> str:
    return percent(row[f"{metric}_mean"])


def _setting(name: str, row: Mapping[str, Any]) -> str:
    return describe_settings(row, [name]).removeprefix(f"{name.replace('_', ' ')} ")


def classifier_sheet(data: StudyData, rng: np.random.Generator) -> Sheet | None:
    """Show what the digit classifiers reach, by rule and by probability; None without a complete one."""
    cells = summarise_cells(data)
    cells = cells[(cells["model"] == "classifier") & (cells["state"] == "complete")]
    figures = {
        "test_digit_accuracy": ("digits", CLASSIFIER_DIGITS),
        "test_accuracy": ("pairs, by rule: the likeliest digits are compared", CLASSIFIER_PAIRS),
        "test_accuracy_by_probability": ("pairs, by the probability that the first is not the larger", None),
    }
    rows = []
    for cell in cells.to_dict("records"):
        for metric, (words, reported) in figures.items():
            values = by_seed(data, metric).loc[cell["cell_id"]].to_numpy(float)
            if not np.isnan(values).any():
                found = estimate(values, rng)
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
