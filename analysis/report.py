"""What the report of a study contains; page.py writes it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.claims import Finding, claims_sheet, findings_data, summarise
from analysis.confirmation import confirmation_sheet
from analysis.decomposition import Steps, decomposition_sheet, decompositions_data, steps_data
from analysis.effects import anova_data, anova_sheet, contrasts_data, contrasts_sheet, effects_sheet, main_effects_data
from analysis.estimates import Estimate, describe_settings, describe_state, summarise_cells
from analysis.figures.aux_weight import SERIES, aux_weight_data, draw_aux_weight
from analysis.figures.boxes import boxes_data, draw_boxes
from analysis.figures.compared import compared_data, draw_compared
from analysis.figures.curves import CURVES, PANELS, curves_data, draw_curves, shown_cells
from analysis.figures.effects import MAIN_ROWS, draw_effects, effects_data
from analysis.figures.network import draw_network, network_data
from analysis.figures.search import draw_history, draw_importance, draw_slice, slice_data
from analysis.load import StudyData
from analysis.page import FORMATS, Page, Picture, Section, write_page
from analysis.search import FEWEST, best_in_words, history_data, history_sheet, importance_data, importance_sheet
from analysis.sheets import Sheet, interval, percent
from analysis.tables import cells_sheet, classifier_sheet, table1_data, table1_sheet

QUESTION = (
    "For a network that says which of two handwritten digits is not the larger: what do weight sharing, an auxiliary "
    "digit loss and dropout each buy?"
)
BOOTSTRAP_SEED = 0  # the same study gives the same intervals
IMPORTANCE = (
    "Importance is about the ranges as they were given: a setting that ruins everything at one end of its range is "
    "important, also where all good cells have the same value of it, and one with a narrow range never is. It is "
    "estimated from the complete cells, which are most where the search went."
)
WARNINGS = 50  # cells that are named; more are counted
BEST = "by mean validation accuracy"


def write_report(
    data: StudyData, related: Mapping[str, StudyData], out: Path, formats: Collection[str] = FORMATS
) -> list[Path]:
    """Write the report of a study and the files it is made of into a folder, made where missing; return their paths.

    ``related`` are the study's companions (see ``load.companions``). The same rows give the same bytes. Raises
    AnalysisError for an unknown format and where the folder cannot be written.
    """
    return write_page(report_page(data, related), out, formats)


def report_page(data: StudyData, related: Mapping[str, StudyData]) -> Page:
    """Put the report together."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    findings = findings_data(data, rng)
    crossed = related.get("dropout-or-rate", data)
    steps = steps_data(crossed, rng)
    sections = [
        Section("Accuracy by configuration", (), (table1_sheet(table1_data(data)),)),
        _claims(findings),
        _search(data),
        _decomposition(crossed, steps, rng),
        _effects(data, rng),
        _aux_weight(data),
        _boxes(data),
        _classifier(data, rng),
        _confirmation(data, related.get("confirmation"), rng),
        _curves(data),
        _network(data),
        Section("Every cell", (), (cells_sheet(data, rng),)),
    ]
    return Page(
        title=f"Study {data.name}",
        question=QUESTION,
        summary=(*summarise(findings), *_steps_in_words(steps)),
        sections=tuple(section for section in sections if section is not None),
        facts=tuple(facts_of(data)),
        warnings=tuple(warnings_of(data)),
    )


def _picture(
    name: str,
    alt: str,
    caption: str,
    infos: Sequence[Any],
    draw: Callable[[Any, Axes], None],
    size: tuple[float, float],
    columns: int = 1,
) -> Picture:
    """Show each info on axes of its own, ``size`` inches each."""
    rows = ceil(len(infos) / columns)

    def draw_all(figure: Figure) -> None:
        for index, info in enumerate(infos):
            draw(info, figure.add_subplot(rows, columns, index + 1))

    return Picture(name, alt, caption, draw_all, (size[0] * columns, size[1] * rows))


def _claims(findings: tuple[Finding, ...]) -> Section:
    picture = _picture(
        "compared",
        "Reported against measured accuracies with their intervals, and the line on which both are equal",
        "Every accuracy that the report gives, against the one measured; bars are 95 % intervals.",
        [compared_data(findings)],
        draw_compared,
        (6.4, 5.6),
    )
    return Section("Verdicts", (), (claims_sheet(findings),), (picture,))


def _search(data: StudyData) -> Section | None:
    if "search" not in data.info or not (tried := history_data(data)):
        return None
    importances, ranges = importance_data(data), data.info["search"]["ranges"]
    infos = [slice_data(tried, setting, given) for setting, given in ranges.items()]
    pictures = [
        _picture(
            "search",
            "Mean validation accuracy of the cells in the order in which they ended, and the best so far",
            "Mean over seeds at a cell's last epoch.",
            [tried],
            draw_history,
            (6.4, 3.8),
        ),
        _picture(
            "slices",
            "Mean validation accuracy against each of the searched settings",
            "All cells against each searched setting; the other settings differ too.",
            infos,
            draw_slice,
            (3.6, 3.0),
            columns=min(3, len(infos)),
        ),
    ]
    if importances:
        pictures.append(
            _picture(
                "importance",
                "How much of the variance of validation accuracy each searched setting accounts for",
                "What the settings account for, each by itself or, where they interact, in part.",
                [importances],
                draw_importance,
                (6.4, 1.2 + 0.4 * len(importances)),
            )
        )
    sheets = [history_sheet(data, tried), *([importance_sheet(data, importances)] if importances else [])]
    words = IMPORTANCE if importances else f"Of importance nothing is said: fewer than {FEWEST} cells are complete."
    return Section("The search", (best_in_words(data, tried), words), tuple(sheets), tuple(pictures))


def _decomposition(data: StudyData, steps: Steps | None, rng: np.random.Generator) -> Section | None:
    rows = decompositions_data(data, rng)
    if not rows:
        return None
    text = (
        "The report's code raised the learning rate from 0.001 to 0.01 together with dropout, so that its gain from "
        "dropout mixes two causes. Here each is raised alone, and both together."
    )
    return Section("What the gain from dropout is made of", (text,), (decomposition_sheet(data.name, rows, steps),))


def _steps_in_words(steps: Steps | None) -> list[str]:
    if steps is None:
        return []

    def words(found: Estimate) -> str:
        return f"{percent(found.mean, sign=True)} ({interval(found.low, found.high, sign=True)})"

    return [
        f"Of the {words(steps.both)} points from the best cell without dropout to the best with it, the learning rate "
        f"alone carries {words(steps.rate)}, dropout alone {words(steps.dropout)}, their interaction "
        f"{words(steps.interaction)} and the weight's change from 10 to 1 {words(steps.weight)}."
    ]


def _effects(data: StudyData, rng: np.random.Generator) -> Section | None:
    contrasts, effects, anova = contrasts_data(data, rng), main_effects_data(data, rng), anova_data(data)
    if not (contrasts or effects):
        return None
    sheets = [contrasts_sheet(contrasts)] if contrasts else []
    sheets += [effects_sheet(effects)] if effects else []
    sheets += [anova_sheet(anova)] if anova.rows else []
    rows, left_out = effects_data(effects, contrasts), max(0, len(effects) - MAIN_ROWS)
    caption = "Differences of test accuracy in points, paired by seed, with 95 % t intervals."
    picture = _picture(
        "effects",
        "Main effects of the factors and the contrasts named in advance, in points, with their intervals",
        caption + (f" The {MAIN_ROWS} largest main effects; {left_out} are left out." if left_out else ""),
        [rows],
        draw_effects,
        (8.0, 1.2 + 0.32 * len(rows)),
    )
    return Section("Effects", (anova.note,) if anova.note else (), tuple(sheets), (picture,))


def _aux_weight(data: StudyData) -> Section:
    pictures = []
    for sharing in (False, True):
        info = aux_weight_data(data, sharing)
        rest = f" The {SERIES} best series {BEST} of their best cells; {info.left_out} are left out."
        pictures.append(
            _picture(
                f"figure{2 + sharing}",
                f"Test accuracy against the auxiliary weight, {('without', 'with')[sharing]} weight sharing",
                f"Figure {2 + sharing}. Mean ± standard deviation over the seeds of a cell."
                + (rest if info.left_out else ""),
                [info],
                draw_aux_weight,
                (6.4, 4.6),
            )
        )
    return Section("Accuracy against the auxiliary weight", (), (), tuple(pictures))


def _boxes(data: StudyData) -> Section:
    pictures = [
        _picture(
            f"figure{4 + dropout}",
            f"Box plots of training and test accuracy of the best cell {('without', 'with')[dropout]} dropout",
            f"Figure {4 + dropout}. The cell that validation chose {('without', 'with')[dropout]} dropout; points are "
            "seeds.",
            [boxes_data(data, dropout=bool(dropout))],
            draw_boxes,
            (6.4, 4.2),
        )
        for dropout in (False, True)
    ]
    return Section("The best cells without and with dropout", (), (), tuple(pictures))


def _classifier(data: StudyData, rng: np.random.Generator) -> Section | None:
    sheet = classifier_sheet(data, rng)
    text = "A network that learns the digits alone, whose two predictions are then compared."
    return None if sheet is None else Section("Reading the digits instead", (text,), (sheet,))


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
    left_out = len(data.info["cells"]) - len(shown_cells(data))
    rest = (
        f" Of each combination the {CURVES} best cells {BEST}, of the {PANELS} combinations with the best; {left_out} "
        "cells are left out."
    )
    picture = _picture(
        "curves",
        "Validation accuracy by epoch, a line a cell, a panel for each combination of the scientific factors",
        "Mean over seeds and the range of the middle half; a seed that has ended keeps its last value, a cross marks "
        "where a cell was pruned." + (rest if left_out else ""),
        infos,
        draw_curves,
        (5.0, 3.6),
        columns=2 if len(infos) > 1 else 1,
    )
    return Section("Learning curves", (), (), (picture,))


def _network(data: StudyData) -> Section | None:
    infos = network_data(data)
    if not infos:
        return None
    picture = _picture(
        "figure1",
        "The layers of the networks, what each reads, its weights and the shape of its output",
        "Figure 1. Drawn from the layers that the study trained; convolutions are followed by 2x2 max-pooling.",
        infos,
        draw_network,
        (10.0, 3.2),
    )
    return Section("The networks", (), (), (picture,))


def warnings_of(data: StudyData) -> Iterable[str]:
    """Name the cells that are not complete and the files that cannot be read."""
    cells = summarise_cells(data)
    incomplete = cells[cells["state"] != "complete"]
    for cell in incomplete.head(WARNINGS).to_dict("records"):
        error = f" ({cell['error']})" if cell["state"] == "failed" and isinstance(cell["error"], str) else ""
        yield f"Not complete, so no part of any mean: {describe_settings(cell, data.info['roles'])}: " + (
            f"{describe_state(cell)}{error}"
        )
    if rest := incomplete["state"].iloc[WARNINGS:].value_counts().to_dict():
        counts = ", ".join(f"{count} {state}" for state, count in rest.items())
        yield f"Not complete either: {counts}. The table of all cells, as CSV, names them."
    for file in data.unreadable:
        yield f"Cannot be read and is left out: {file}. Running the study again restores it."


def facts_of(data: StudyData) -> Iterable[tuple[str, str]]:
    """Tell where the numbers come from: grid, trials, times, protocol, and the last run's code and machine."""
    cells, seeds = [cell["cell_id"] for cell in data.info["cells"]], data.info["seeds"]
    trials = data.trials[data.trials["cell_id"].isin(cells) & data.trials["seed"].isin(seeds)]
    yield "grid", f"{data.info['grid']}, {len(cells)} cells of {len(seeds)} seeds"
    yield "trials", _trial_counts(trials, len(cells) * len(seeds))
    if "train_time_s" in trials and trials["train_time_s"].notna().any():
        yield "training time", f"{_duration(trials['train_time_s'].sum())}, added up over the trials"
    if "started_at" in trials and trials["started_at"].notna().any():
        span = trials["finished_at"].max() - trials["started_at"].min()
        yield "wall time", f"{_duration(span.total_seconds())}, from the first start to the last end"
    for setting, value in data.info["protocol"].items():
        yield setting.replace("_", " "), str(value)
    for fact, value in (data.info["runs"] or [{}])[-1].items():
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
