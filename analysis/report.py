"""What the report of a study contains; page.py writes it."""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from analysis.course_report.claims import claims_rich
from analysis.course_report.companions import crossed_study
from analysis.course_report.sections import QUESTION, figures, is_replication, networks, verdicts
from analysis.course_report.table1 import table1_data, table1_rich
from analysis.figures.curves import CURVES, PANELS, curves_data, draw_curves, shown_cells
from analysis.figures.effects import MAIN_ROWS, draw_effects, effects_data
from analysis.figures.search import draw_history, draw_importance, draw_slice, slice_data
from analysis.load import StudyData, companion, confirmation_study
from analysis.output.formats import sheet_rich
from analysis.output.page import BEST, FORMATS, Page, Panels, Section, make_picture, write_page
from analysis.output.sheet import Sheet, interval, percent
from analysis.statistics.cell_table import cells_sheet
from analysis.statistics.cells import by_seed, describe_settings, describe_state, summarise_cells
from analysis.statistics.confirmation import confirmation_sheet
from analysis.statistics.contrasts import contrasts_data, contrasts_sheet
from analysis.statistics.effects import anova_data, anova_sheet, effects_sheet, main_effects_data
from analysis.statistics.intervals import estimate
from analysis.statistics.search_summary import (
    FEWEST,
    best_in_words,
    history_data,
    history_sheet,
    importance_data,
    importance_sheet,
)
from analysis.statistics.selection import best_cell

BOOTSTRAP_SEED = 0  # the same study gives the same intervals
IMPORTANCE = (
    "Importance is about the ranges as they were given: a setting that ruins everything at one end of its range is "
    "important, also where all good cells have the same value of it, and one with a narrow range never is. It is "
    "estimated from the complete cells, which are most where the search went."
)
WARNINGS = 50  # cells that are named; more are counted


def write_report(
    data: StudyData, related: Mapping[str, StudyData], out: Path, formats: Collection[str] = FORMATS
) -> list[Path]:
    """Write the report of a study and the files it is made of into a folder, made where missing; return their paths.

    ``related`` are the studies that ``related_studies`` returns. The same rows give the same bytes. Raises
    AnalysisError for an unknown format and where the folder cannot be written.
    """
    return write_page(report_page(data, related), out, formats)


def related_studies(storage: str, data: StudyData) -> dict[str, StudyData]:
    """Return the other studies of the storage that a study's report draws on, if they have a finished trial.

    ``confirmation`` trained its chosen cells again; ``crossed`` is the one that the course report needs beside it.
    They have no epochs. Raises AnalysisError for a storage that cannot be read.
    """
    found = {
        "confirmation": confirmation_study(storage, data),
        "crossed": companion(storage, crossed_study(data)),
    }
    return {what: study for what, study in found.items() if study is not None}


def report_page(data: StudyData, related: Mapping[str, StudyData]) -> Page:
    """Put the report together."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    summary = _best_in_words(data)
    first: list[Section | None] = []
    then: list[Section | None] = []
    last: list[Section | None] = []
    question = str(data.info.description)
    if is_replication(data):
        question = QUESTION
        summary, first = verdicts(data, related.get("crossed", data), rng)
        last = [networks(data)]
    effects = _effects(data, rng)
    if is_replication(data):
        then = figures(data, rng)
    sections = [
        *first,
        _search(data),
        effects,
        *then,
        _confirmation(data, related.get("confirmation"), rng),
        _curves(data),
        *last,
        Section("Every cell", (), (cells_sheet(data, rng),)),
    ]
    return Page(
        title=f"Study {data.name}",
        question=question,
        summary=summary,
        sections=tuple(section for section in sections if section is not None),
        facts=tuple(facts_of(data)),
        warnings=tuple(warnings_of(data)),
    )


def _best_in_words(data: StudyData) -> tuple[str, ...]:
    best = best_cell(summarise_cells(data))
    if best is None:
        return ()
    found = estimate(by_seed(data, "test_accuracy").loc[best["cell_id"]].to_numpy(float), np.random.default_rng(0))
    reach = "" if found.n < 2 else f" ({interval(found.low, found.high)})"
    return (
        f"The best cell {BEST}, {describe_settings(best, data.info.roles)}, has a test accuracy of "
        f"{percent(found.mean)} %{reach}, n = {found.n}.",
    )


def tables_on_screen(data: StudyData, page: Page) -> list[Table]:
    """Return the tables that the terminal shows of a report."""
    if is_replication(data):
        return [claims_rich(sheets_of(page)["claims"]), table1_rich(table1_data(data))]
    return [sheet_rich(sheet) for name, sheet in sheets_of(page).items() if name in ("contrasts", "effects", "cells")]


def _search(data: StudyData) -> Section | None:
    if data.info.search is None or not (tried := history_data(data)):
        return None
    importances, ranges = importance_data(data), data.info.ranges
    infos = [slice_data(tried, setting, given) for setting, given in ranges.items()]
    pictures = [
        make_picture(
            "search",
            "Mean validation accuracy of the cells in the order in which they ended, and the best so far",
            "Mean over seeds at a cell's last epoch.",
            Panels([tried], draw_history, (6.4, 3.8)),
        ),
        make_picture(
            "slices",
            "Mean validation accuracy against each of the searched settings",
            "All cells against each searched setting; the other settings differ too.",
            Panels(infos, draw_slice, (3.6, 3.0), columns=min(3, len(infos))),
        ),
    ]
    if importances:
        pictures.append(
            make_picture(
                "importance",
                "How much of the variance of validation accuracy each searched setting accounts for",
                "What the settings account for, each by itself or, where they interact, in part.",
                Panels([importances], draw_importance, (6.4, 1.2 + 0.4 * len(importances))),
            )
        )
    sheets = [history_sheet(data, tried), *([importance_sheet(data, importances)] if importances else [])]
    words = IMPORTANCE if importances else f"Of importance nothing is said: fewer than {FEWEST} cells are complete."
    return Section("The search", (best_in_words(data, tried), words), tuple(sheets), tuple(pictures))


def _effects(data: StudyData, rng: np.random.Generator) -> Section | None:
    contrasts, effects, anova = contrasts_data(data, rng), main_effects_data(data, rng), anova_data(data)
    if not (contrasts or effects):
        return None
    sheets = [contrasts_sheet(contrasts)] if contrasts else []
    sheets += [effects_sheet(effects)] if effects else []
    sheets += [anova_sheet(anova)] if anova.rows else []
    rows, left_out = effects_data(effects, contrasts), max(0, len(effects) - MAIN_ROWS)
    caption = "Differences of test accuracy in points, paired by seed, with 95 % t intervals."
    picture = make_picture(
        "effects",
        "Main effects of the factors and the contrasts named in advance, in points, with their intervals",
        caption + (f" The {MAIN_ROWS} largest main effects; {left_out} are left out." if left_out else ""),
        Panels([rows], draw_effects, (8.0, 1.2 + 0.32 * len(rows))),
    )
    return Section("Effects", (anova.note,) if anova.note else (), tuple(sheets), (picture,))


def _confirmation(data: StudyData, confirmation: StudyData | None, rng: np.random.Generator) -> Section | None:
    if confirmation is None:
        return None
    text = (
        "What was chosen because it was best was lucky too, by the figure that chose it: validation accuracy. Test "
        "accuracy chose nothing. Fresh seeds take the luck out of both."
    )
    return Section("Confirmation", (text,), (confirmation_sheet(data, confirmation, rng),))


def _curves(data: StudyData) -> Section | None:
    infos = curves_data(data)
    if not infos:
        return None
    left_out = len(data.info.cells) - len(shown_cells(data))
    rest = (
        f" Of each combination the {CURVES} best cells {BEST}, of the {PANELS} combinations with the best; {left_out} "
        "cells are left out."
    )
    picture = make_picture(
        "curves",
        "Validation accuracy by epoch, a line a cell, a panel for each combination of the scientific factors",
        "Mean over seeds and the range of the middle half; a seed that has ended keeps its last value, a cross marks "
        "where a cell was pruned." + (rest if left_out else ""),
        Panels(infos, draw_curves, (5.0, 3.6), columns=2 if len(infos) > 1 else 1),
    )
    return Section("Learning curves", (), (), (picture,))


def warnings_of(data: StudyData) -> Iterable[str]:
    """Name the cells that are not complete and the files that cannot be read."""
    cells = summarise_cells(data)
    incomplete = cells[cells["state"] != "complete"]
    for cell in incomplete.head(WARNINGS).to_dict("records"):
        error = f" ({cell['error']})" if cell["state"] == "failed" and isinstance(cell["error"], str) else ""
        yield f"Not complete, so no part of any mean: {describe_settings(cell, data.info.roles)}: " + (
            f"{describe_state(cell)}{error}"
        )
    if rest := incomplete["state"].iloc[WARNINGS:].value_counts().to_dict():
        counts = ", ".join(f"{count} {state}" for state, count in rest.items())
        yield f"Not complete either: {counts}. The table of all cells, as CSV, names them."
    for file in data.unreadable:
        yield f"Cannot be read and is left out: {file}. Running the study again restores it."


def facts_of(data: StudyData) -> Iterable[tuple[str, str]]:
    """Tell where the numbers come from: grid, trials, times, protocol, and the last run's code and machine."""
    cells, seeds = [cell["cell_id"] for cell in data.info.cells], data.info.seeds
    trials = data.trials[data.trials["cell_id"].isin(cells) & data.trials["seed"].isin(seeds)]
    yield "grid", f"{data.info.grid}, {len(cells)} cells of {len(seeds)} seeds"
    yield "trials", _trial_counts(trials, len(cells) * len(seeds))
    if "train_time_s" in trials and trials["train_time_s"].notna().any():
        yield "training time", f"{_duration(trials['train_time_s'].sum())}, added up over the trials"
    if "started_at" in trials and trials["started_at"].notna().any():
        span = trials["finished_at"].max() - trials["started_at"].min()
        yield "wall time", f"{_duration(span.total_seconds())}, from the first start to the last end"
    for setting, value in data.info.protocol.items():
        yield setting.replace("_", " "), str(value)
    for fact, value in (data.info.runs or [{}])[-1].items():
        yield f"last run, {fact.replace('_', ' ')}", _one_line(value)


def _trial_counts(trials: pd.DataFrame, planned: int) -> str:
    """Count the trials by status, the most frequent first, and those of the planned ones that have no row."""
    counts = trials["status"].value_counts().to_dict()
    counts["not run"] = planned - len(trials)
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) + f"; {planned} planned"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)


def sheets_of(page: Page) -> dict[str, Sheet]:
    """Return every sheet of the report by its name."""
    return {sheet.name: sheet for section in page.sections for sheet in section.sheets}


def estimates_of(page: Page) -> dict[str, list[Mapping[str, Any]]]:
    """Return the raw rows of every sheet by its name, for machines; NaN becomes None."""
    return {name: [_plain(row) for row in sheet.rows] for name, sheet in sheets_of(page).items()}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {name: None if value != value else value for name, value in plain.items()}
