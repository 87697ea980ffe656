"""What the report of a study contains; ``analysis.output.page`` writes it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from analysis.comparison.confirmation import confirmation_sheet
from analysis.course_report.chapters import chapters_for, companions_of
from analysis.figures.curves import curves_picture
from analysis.figures.effects import effects_picture, interaction_picture
from analysis.figures.search import search_pictures
from analysis.figures.slopes import slopes_picture
from analysis.load import StudyData, companion, confirmation_study
from analysis.output.formats import sheet_rich
from analysis.output.page import Page, Section
from analysis.output.sheet import Sheet, ends
from analysis.statistics.cells import by_seed, cells_sheet, describe_settings, limits_of, summarise_cells
from analysis.statistics.contrasts import contrasts_data
from analysis.statistics.contrasts_table import contrasts_sheet, precision_sheet
from analysis.statistics.effects import anova_data, anova_sheet, effects_sheet, main_effects_data
from analysis.statistics.inference import estimate
from analysis.statistics.search_summary import (
    best_in_words,
    history_data,
    history_sheet,
    importance_data,
    importance_sheet,
)
from analysis.statistics.selection import best_cell
from analysis.statistics.sources import facts_of, warnings_of
from analysis.statistics.standings import standings, standings_sheet
from analysis.statistics.target import target_in_words

IMPORTANCE = (
    "Importance is about the ranges as they were given. A setting that ruins everything at one end of its range is "
    "important, even if all good cells have the same value of it; a setting with a narrow range never is. Importance "
    "is estimated from the complete cells, most of which are where the search went."
)
ON_SCREEN = ("contrasts", "decisions", "effects", "cells")


def related_studies(storage: str, data: StudyData) -> dict[str, StudyData]:
    """Return the finished studies of the storage that a study's report draws on beside itself.

    ``confirmation`` trained its chosen cells again; its chapters name the others. They have no
    epochs. Raises AnalysisError if the storage cannot be read.
    """
    found = {"confirmation": confirmation_study(storage, data)}
    for what, name in companions_of(data).items():
        found[what] = companion(storage, name)
    return {what: study for what, study in found.items() if study is not None}


def report_page(data: StudyData, related: Mapping[str, StudyData]) -> Page:
    """Put the report together; ``related`` are the studies that ``related_studies`` returns."""
    chapters = chapters_for(data, related)
    question = str(data.info.description)
    sections: list[Section | None] = []
    if chapters is None:
        summary = (*_best_in_words(data), *_no_test_part(data))
    else:
        question = chapters.question
        summary, opening = chapters.opening()
        sections += opening
    summary = (*summary, target_in_words(data.info))
    sections += [_search(data), _effects(data)]
    if chapters is not None:
        sections += chapters.figures()
    if (again := related.get("confirmation")) is not None:
        sections.append(Section("Confirmation", (_confirmation_in_words(data),), (confirmation_sheet(data, again),)))
    if (curves := curves_picture(data)) is not None:
        sections.append(Section("Learning curves", (), (), (curves,)))
    if chapters is not None:
        sections += chapters.closing()
    sections.append(Section("Every cell", (), (cells_sheet(data),)))
    return Page(
        title=f"Study {data.name}",
        question=question,
        summary=summary,
        sections=tuple(filter(None, sections)),
        facts=tuple(facts_of(data)),
        warnings=tuple(warnings_of(data)),
    )


def _best_in_words(data: StudyData) -> tuple[str, ...]:
    if (best := best_cell(summarise_cells(data))) is None:
        return ()
    goal = data.info.goal
    values = by_seed(data, data.reported).loc[best["cell_id"]].to_numpy(float)
    found = estimate(values, limits_of(data))
    # Without a spread there is no interval.
    interval = ends(goal, found.low, found.high)
    reach = f" ({interval})" if interval else ""
    settings = describe_settings(best, data.info.roles)
    chosen_by, what = goal.in_words(data.info.selected_part), goal.in_words(data.reported_part)
    return (
        f"The best cell by mean {chosen_by}, {settings}, has a {what} of "
        f"{goal.format(found.mean)}{reach}, n = {found.n}.",
    )


def _no_test_part(data: StudyData) -> Iterator[str]:
    if not data.has_test:
        what = data.info.goal.in_words("val")
        imported = data.info.protocol.get("model") == "imported"
        again = "" if imported else ": study confirm trains it again with fresh seeds"
        yield (
            f"The study has no test part, so all its tables and figures show {what}, by which cells are also chosen. "
            f"What the best cell has is partly luck{again}."
        )
    elif data.selection == data.reported:
        what = data.info.goal.in_words("test")
        yield f"The study has no validation part: cells are chosen by {what}, so what the best cell has is partly luck."


def _confirmation_in_words(data: StudyData) -> str:
    goal = data.info.goal
    chosen = f"The cells were chosen for their {goal.in_words('val')}, so that figure is partly luck. "
    if not data.has_test:
        return f"{chosen}Fresh seeds take the luck out of it."
    return (
        f"{chosen}{goal.in_words('test').capitalize()} was not used to choose. Fresh seeds take the luck out of both."
    )


def tables_on_screen(data: StudyData, page: Page) -> list[Table]:
    """Return the tables of a report that the terminal shows."""
    sheets = sheets_of(page)
    if (chapters := chapters_for(data, {})) is not None:
        return chapters.tables_on_screen(sheets)
    return [sheet_rich(sheets[name]) for name in sheets if name in ON_SCREEN]


def _search(data: StudyData) -> Section | None:
    tried = None if data.info.search is None else history_data(data)
    if not tried:
        return None
    importances = importance_data(data)
    sheets = [history_sheet(data, tried)]
    # With few cells, or of noise, an estimate of importance would be noise.
    words = f"Importance is not estimated: {importances.why}."
    if importances.found:
        words = IMPORTANCE
        sheets.append(importance_sheet(data, importances))
    pictures = search_pictures(data, tried, importances.found)
    return Section("The search", (best_in_words(data, tried), words), tuple(sheets), pictures)


def _effects(data: StudyData) -> Section | None:
    contrasts = contrasts_data(data)
    effects = main_effects_data(data)
    anova = anova_data(data)
    if not contrasts and not effects:
        return None
    # A study may have contrasts without main effects, and the other way round.
    sheets = []
    if contrasts:
        sheets += [contrasts_sheet(data, contrasts), precision_sheet(data, contrasts)]
    if contrasts and data.info.replicate:
        sheets.append(standings_sheet(data, standings(data)))
    if effects:
        sheets.append(effects_sheet(data, effects))
    if anova.rows:
        sheets.append(anova_sheet(data, anova))
    notes = (anova.note,) if anova.note else ()
    effects_drawn = effects_picture(data, effects, contrasts)
    pictures = (effects_drawn, interaction_picture(data, anova), slopes_picture(data, contrasts))
    return Section("Effects", notes, tuple(sheets), tuple(filter(None, pictures)))


def sheets_of(page: Page) -> dict[str, Sheet]:
    """Return every sheet of the report by its name."""
    return {sheet.name: sheet for sheet in page.sheets}


def estimates_of(page: Page) -> dict[str, list[Mapping[str, Any]]]:
    """Return the raw rows of every sheet by its name, for programs; NaN becomes None."""
    return {name: list(map(_plain, sheet.rows)) for name, sheet in sheets_of(page).items()}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn numpy's values into Python's, which JSON can write."""
    plain = {}
    for name, value in row.items():
        value = value.item() if isinstance(value, np.generic) else value
        # NaN is the only value that is not equal to itself.
        plain[name] = None if value != value else value
    return plain
