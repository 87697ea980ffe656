"""Whole reports of studies of anyone's models: less may be better, parts may be missing, models may differ."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.confirmation import confirmation_sheet
from analysis.comparison.difference import difference_data
from analysis.comparison.difference_tables import difference_sheet, summarise_difference
from analysis.load import StudyData, load_study
from analysis.output.export import trials_table
from analysis.output.page import Page, draw_figure, write_page
from analysis.parts import part_name
from analysis.report import estimates_of, report_page, sheets_of
from analysis.statistics.cells import summarise_cells
from analysis.statistics.selection import best_cell, chosen_cells
from analysis.stored import AnalysisError

RMSE = {"name": "rmse", "goal": "min", "unit": "mg/dl", "scale": 1.0}
R2 = {"name": "r2", "goal": "max", "unit": "", "scale": 1.0}
MISSED = {"name": "missed", "goal": "min", "unit": "%", "scale": 100.0}
ROLES = {"norm": "scientific", "depth": "tuned"}
NORM = {"norm": "scientific"}
Figures = Mapping[str, Sequence[float | None]]


def made_study(storage: Path, cells: Sequence[tuple[dict[str, Any], Figures]], **changes: Any) -> StudyData:
    """Write a study of three seeds, whose figures get better by a tenth at each of five epochs; read it."""
    name = changes.get("study", "sugar")
    for kind in ("trials", "epochs"):
        (storage / name / kind).mkdir(parents=True)
    planned = []
    for place, (settings, figures) in enumerate(cells):
        cell_id = f"cell{place}"
        planned.append({"cell_id": cell_id, "model": "my:train", "max_epochs": 5} | settings)
        ids = {"cell_id": cell_id, "trial_id": [f"{cell_id}-{seed:04d}" for seed in range(3)], "seed": range(3)}
        columns = {setting: value for setting, value in settings.items() if setting in ROLES and value is not None}
        trials = pd.DataFrame(ids | {"status": "completed", "epochs": 5, "error": None} | columns | dict(figures))
        trials = trials.astype({"error": str} | dict.fromkeys(figures, float))
        part = part_name(cell_id, ids["trial_id"])
        trials.to_parquet(storage / name / "trials" / part, index=False)
        curves = pd.concat([trials.assign(epoch=epoch) for epoch in range(1, 6)])
        for column in figures:
            curves[column] = curves[column].astype(float) * (1.5 - 0.1 * curves["epoch"])
        curves[["cell_id", "trial_id", "seed", "epoch", *figures]].to_parquet(
            storage / name / "epochs" / part, index=False
        )
    info = {"schema": 1, "study": name, "grid": name, "roles": ROLES, "cells": planned, "seeds": [0, 1, 2]}
    info |= {"protocol": {}, "runs": [], "metrics": [RMSE, R2, MISSED], "objective": "rmse"}
    (storage / name / "study.json").write_text(json.dumps(info | changes))
    return load_study(str(storage), name, for_report=True)


BETTER = {"val_rmse": [52, 53, 54], "test_rmse": [50, 53, 56], "test_r2": [0.5, 0.51, 0.52], "test_missed": [0.1] * 3}
WORSE = {"val_rmse": [58, 58, 58], "test_rmse": [55, 57, 59], "test_r2": [0.4, 0.4, None], "test_missed": [0.2] * 3}
CONTRASTS = [{"name": "batch norm", "plus": [{"norm": "batch"}], "minus": [{"norm": "off"}]}]


def two_cells(storage: Path, part: str = "test_", **changes: Any) -> StudyData:
    """Make a study of two cells, the first of which is worse; with a part "val_" without a test part."""
    cells = []
    for norm, figures in (("off", WORSE), ("batch", BETTER)):
        own = {name: values for name, values in figures.items() if part == "test_" or name == "val_rmse"}
        cells.append(({"norm": norm, "depth": 3}, own))
    return made_study(storage, cells, contrasts=CONTRASTS, **changes)


def labels_of(page: Page) -> dict[str, set[str]]:
    """Draw every picture; return the labels of its axes."""
    found = {}
    for picture in page.pictures:
        axes = draw_figure(picture).axes
        found[picture.name] = {label for ax in axes for label in (ax.get_xlabel(), ax.get_ylabel()) if label}
    return found


def test_of_a_figure_of_which_less_is_better_the_smallest_is_the_best(tmp_path: Path) -> None:
    data = two_cells(tmp_path)
    page = report_page(data, {})
    write_page(page, tmp_path / "report")
    # 53 +- 4.303 (t of 2 degrees of freedom) times 3 / sqrt(3)
    assert page.summary[:-1] == (
        "The best cell by mean validation rmse, norm batch, depth 3, has a test rmse of 53.00 mg/dl "
        "(45.55 to 60.45), n = 3.",
    )
    sheets = sheets_of(page)
    headings = ["norm", "seeds", "test", "std", "95 % interval", "validation", "test r2", "test missed, %"]
    assert [column.heading for column in sheets["cells"].visible_columns] == [headings[0], "depth", *headings[1:]]
    # A seed without r2 has no part in the mean of r2, so there is none; the cell is complete.
    assert sheets["cells"].texts[0] == ["off", "3", "3 seeds", "57.00", "2.000", "52.03 to 61.97", "58.00", "–", "20.0"]
    assert sheets["cells"].texts[1][-4:] == ["45.55 to 60.45", "53.00", "0.5100", "10.0"]
    assert sheets["cells"].caption.startswith("Rmse in mg/dl: means over n seeds")
    assert sheets["cells"].caption.endswith(" Less is better: rmse, missed.")
    # -5, -4 and -3: plus minus minus, whatever is better; 4.303 / sqrt(3) is 2.484
    assert sheets["contrasts"].texts[0][:3] == ["batch norm", "-4.000", "-6.484 to -1.516"]
    assert [column.heading for column in sheets["contrasts"].columns][1] == "difference, mg/dl"
    assert "Less is better: a negative difference is an improvement." in sheets["contrasts"].caption
    assert sheets["effects"].texts[0][:3] == ["norm", "batch", "off"]  # the first of the grid is the baseline
    assert estimates_of(page)["cells"][1]["test_rmse_mean"] == 53
    assert labels_of(page) == {
        "effects": {"difference of test rmse in mg/dl, 95 % t interval"},
        "curves": {"epoch", "validation rmse, mg/dl"},
        "slopes": {"test rmse, mg/dl"},
    }
    assert "accurac" not in (tmp_path / "report" / "report.html").read_text()


def test_a_study_without_a_test_part_is_reported_by_validation_and_says_so(tmp_path: Path) -> None:
    data = two_cells(tmp_path, "val_")
    page = report_page(data, {})
    write_page(page, tmp_path / "report")
    assert page.summary[:-1] == (
        # 53 +- 4.303 / sqrt(3)
        "The best cell by mean validation rmse, norm batch, depth 3, has a validation rmse of 53.00 mg/dl "
        "(50.52 to 55.48), n = 3.",
        "The study has no test part, so all its tables and figures show validation rmse, by which cells are also "
        "chosen. What the best cell has is partly luck: study confirm trains it again with fresh seeds.",
    )
    cells = sheets_of(page)["cells"]
    assert [column.heading for column in cells.columns][2:] == ["seeds", "validation", "std", "95 % interval"]
    assert "val_rmse_mean" in cells.rows[0]
    assert sheets_of(page)["contrasts"].texts[0][1] == "-5.000"
    assert "difference of validation rmse in mg/dl, 95 % t interval" in labels_of(page)["effects"]
    assert "test rmse" not in (tmp_path / "report" / "report.html").read_text()


def test_a_table_from_elsewhere_may_have_a_test_part_only(tmp_path: Path) -> None:
    cells: list[tuple[dict[str, Any], Figures]] = []
    for norm, value in (("a", 60.0), ("b", 55.0)):
        cells.append(({"norm": norm}, {"val_rmse": [None] * 3, "test_rmse": [value] * 3}))
    page = report_page(made_study(tmp_path, cells, roles=NORM, selected_by="test"), {})
    assert page.summary[0].startswith("The best cell by mean test rmse, norm b, has a test rmse of 55.00 mg/dl")
    assert page.summary[1].startswith("The study has no validation part")
    headings = ["norm", "seeds", "test", "std", "95 % interval"]
    assert [column.heading for column in sheets_of(page)["cells"].columns] == headings
    assert labels_of(page)["curves"] == {"epoch", "test rmse, mg/dl"}


def test_another_metric_may_be_the_objective(tmp_path: Path) -> None:
    figures = [{"val_missed": [share] * 3, "test_missed": [share + 0.1] * 3} for share in (0.3, 0.2)]
    data = made_study(
        tmp_path, [({"norm": "a"}, figures[0]), ({"norm": "b"}, figures[1])], objective="missed", roles=NORM
    )
    page = report_page(data, {})
    assert page.summary[0].endswith("norm b, has a test missed of 30.0 %, n = 3.")
    assert sheets_of(page)["effects"].texts[0][3] == "-10.0"
    assert labels_of(page)["curves"] == {"epoch", "validation missed, %"}


def test_a_seed_without_the_objective_is_not_finished(tmp_path: Path) -> None:
    short = {"val_rmse": [52, None, 54], "test_rmse": [50, 53, 56]}
    blank: Figures = {"val_rmse": [52, 53, 54], "test_rmse": [None] * 3}
    data = made_study(tmp_path, [({"norm": "a"}, WORSE), ({"norm": "b"}, short), ({"norm": "c"}, blank)], roles=NORM)
    sheet = sheets_of(report_page(data, {}))["cells"]
    assert [row["words"] for row in sheet.rows] == ["3 seeds", "2 of 3 seeds", "finished, without a result"]
    assert [row["test_rmse_mean"] for row in sheet.rows] == [57, None, None]


def test_models_of_different_settings_are_one_study(tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"model": "my:mlp", "norm": None, "hidden": [64, 64]},
        {"model": "my:mlp", "norm": "batch", "hidden": [64, 64]},
        {"model": "my:mlp", "norm": 0.5, "hidden": [64]},
        {"model": "my:boosting", "depth": 3},
        {"model": "my:boosting", "depth": None},
    ]
    cells = []
    for place, cell in enumerate(settings):
        values = [60.0 - place, 62.0 - place, 64.0 - place]
        cells.append((cell, {"val_rmse": values, "test_rmse": values}))
    data = made_study(tmp_path, cells, roles={"model": "scientific", **ROLES})
    page = report_page(data, {})
    write_page(page, tmp_path / "report")
    texts = sheets_of(page)["cells"].texts
    assert [row[:3] for row in texts] == [
        ["my:mlp", "none", "–"],
        ["my:mlp", "0.5", "–"],
        ["my:mlp", "batch", "–"],
        ["my:boosting", "–", "none"],
        ["my:boosting", "–", "3"],
    ]
    rows = estimates_of(page)["cells"]
    assert ("depth" in rows[0], rows[3]["depth"], rows[4]["depth"]) == (False, None, 3)
    # Effects are of the model that most cells have: what is none is the baseline, numbers come before words.
    assert [row[:3] for row in sheets_of(page)["effects"].texts] == [["norm", "0.5", "none"], ["norm", "batch", "none"]]
    assert page.summary[0].startswith("The best cell by mean validation rmse, model my:boosting, depth none, has")
    assert chosen_cells(data) == ["cell0", "cell2", "cell1", "cell4"]  # one for each model and norm
    data = load_study(str(tmp_path), "sugar")
    assert data.trials["norm"].tolist()[:9:3] == [None, "batch", 0.5]
    assert trials_table(data).column("norm").to_pylist()[:9:3] == [None, "0.5", "batch"]
    assert trials_table(data).column("hidden").to_pylist()[0] == "[64, 64]"
    assert trials_table(data).column("depth").to_pylist()[::3] == [None, None, None, None, 3]
    again = difference_data(data, data, ("A", "B"))
    assert [cell.identical for cell in again.cells] == [3] * 5
    assert difference_sheet(again).texts[4][0] == "model my:boosting, depth 3"


def test_the_best_so_far_of_a_search_is_the_smallest(tmp_path: Path) -> None:
    cells = []
    for place, value in enumerate([60.0, 55.0, 58.0, 51.0, 900.0]):
        cells.append(({"lr": 0.1 * (place + 1)}, {"val_rmse": [value] * 3, "test_rmse": [value] * 3}))
    search = {"ranges": {"lr": {"low": 0.01, "high": 1.0, "log": False}}, "budget": {"trials": 15}}
    data = made_study(tmp_path, cells, roles={"lr": "tuned"}, search=search)
    page = report_page(data, {})
    write_page(page, tmp_path / "report")
    section = next(section for section in page.sections if section.title == "The search")
    assert section.paragraphs[0].startswith(
        "Of 5 cells, number 4 has the lowest mean validation rmse, 51.00 mg/dl: lr 0.4. It was chosen for this rmse,"
    )
    assert sheets_of(page)["search"].texts == [["1", "0.1", "60.00"], ["2", "0.2", "55.00"], ["4", "0.4", "51.00"]]
    assert [row["best"] for row in sheets_of(page)["search"].rows] == [60, 55, 55, 51, 51]
    assert labels_of(page)["slices"] == {"lr", "validation rmse, mg/dl"}
    picture = next(picture for picture in page.pictures if picture.name == "search")
    (ax,) = draw_figure(picture).axes
    marks = {str(line.get_label()): line.get_ydata() for line in ax.get_lines()}
    assert marks["higher still"] == pytest.approx([60 + 1.5 * 5])  # the quartiles are 55 and 60


def test_confirmations_and_differences_are_of_the_objective(tmp_path: Path) -> None:
    data = two_cells(tmp_path)
    again = two_cells(tmp_path, study="sugar-confirm")
    sheet = confirmation_sheet(data, again)
    assert sheet.columns[1].heading == "rmse, mg/dl"
    assert [row[1] for row in sheet.texts] == ["test, paired", *["validation"] * 2, *["test"] * 2]
    assert sheet.texts[0][2] == "-4.000 (-6.484 to -1.516), n = 3"
    found = difference_data(data, again, ("A", "B"))
    assert difference_sheet(found).texts[0][3:5] == ["3, same bits", "0"]
    assert "accuracy" not in " ".join(summarise_difference(found)) + difference_sheet(found).caption


def test_studies_of_other_objectives_are_not_compared(tmp_path: Path) -> None:
    data = two_cells(tmp_path)
    figures = {"val_r2": [0.5] * 3}
    other = made_study(tmp_path, [({"norm": "off", "depth": 3}, figures)], study="other", objective="r2")
    with pytest.raises(
        AnalysisError, match=r"A and B have the objectives rmse \(min\) and r2 \(max\); compare studies"
    ):
        difference_data(data, other, ("A", "B"))


def test_large_figures_tie_by_their_leading_digits(tmp_path: Path) -> None:
    # The sums of these differ in the last bit by their order, far above the twelfth decimal.
    one, other = [1e6 + 0.1, 1e6 + 0.2, 1e6 + 0.3], [1e6 + 0.3, 1e6 + 0.2, 1e6 + 0.1]
    cells = [
        ({"norm": "a", "depth": 4 - place}, {"val_rmse": v, "test_rmse": v}) for place, v in enumerate((one, other))
    ]
    summary = summarise_cells(made_study(tmp_path, cells))
    best = best_cell(summary.assign(merit=summary["merit"] * np.array([1 - 1e-14, 1])))
    assert best is not None
    assert best["depth"] == 3
