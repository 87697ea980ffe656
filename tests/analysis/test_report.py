import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import pytest

from analysis.load import StudyData
from analysis.report import estimates_of, related_studies, report_page, sheets_of
from analysis.stored import AnalysisError
from tests.analysis.conftest import StoreBuilder, with_info, write_report

ALONE: Mapping[str, StudyData] = {}
CONTRASTS = [{"name": "sharing alone", "plus": [{"sharing": True}], "minus": [{"sharing": False}]}]


@pytest.fixture
def data(store: StoreBuilder) -> StudyData:
    """Two cells of three seeds, with curves, and a contrast between them."""
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.85, 0.86, 0.88], sharing=True)
    data = store.load()
    data = with_info(data, contrasts=CONTRASTS)
    return dataclasses.replace(data, epochs=data.epochs.assign(val_accuracy=0.5 + 0.1 * data.epochs["epoch"]))


def test_all_files_are_written_the_report_last(data: StudyData, tmp_path: Path) -> None:
    written = write_report(data, ALONE, tmp_path / "reports" / "abc")
    assert sorted((tmp_path / "reports" / "abc").iterdir()) == sorted(written)
    assert written[-1].name == "report.html"
    sheets = {"table1", "claims", "contrasts", "contrasts-precision", "effects", "anova", "cells"}
    pictures = {"compared", "effects", "figure2", "figure3", "figure4", "figure5", "curves", "slopes"}
    names = {f"{sheet}.{suffix}" for sheet in sheets for suffix in ("md", "csv", "tex")}
    names |= {f"{picture}.{suffix}" for picture in pictures for suffix in ("svg", "png")}
    assert {path.name for path in written} == names | {"report.html"}


def test_the_report_says_what_was_asked_found_and_run(data: StudyData) -> None:
    page = report_page(data, ALONE)
    assert page.title == "Study abc"
    assert "what do weight sharing, an auxiliary digit loss and dropout each buy?" in page.question
    assert page.summary[0].startswith("Verdicts on the 6 entries of the report's Table I: ")
    facts = dict(page.facts)
    assert facts["grid"] == "full, 2 cells with 3 seeds each"
    assert facts["trials"] == "6 completed; 6 planned"
    assert facts["data"] == "mnist5k"
    assert facts["last run, commit"] == "1234abcd"
    assert facts["last run, packages"] == "torch 2.11.0, ray 2.55.0"
    assert page.warnings == ()


@pytest.mark.parametrize("extra", [{"model": "my:Model"}, {"batch_norm": True}, {"shift": 1}, {"pairing": "swapped"}])
def test_a_study_of_more_than_the_report_had_is_not_held_against_it(store: StoreBuilder, extra: dict[str, Any]) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.85, 0.86, 0.90], sharing=True, **extra)
    data = store.load()
    data = with_info(data, description="What does the extra bring?")
    page = report_page(data, ALONE)
    assert page.question == "What does the extra bring?"
    assert page.summary[0].endswith(
        "sharing on, dropout 0, aux weight 0, learning rate 0.001, has a test accuracy of 87.0 % (80.4 to 93.6), n = 3."
    )  # 0.87, and 4.303 (t with 2 degrees of freedom) times 0.0265 / sqrt(3)
    assert not {"table1", "claims"} & set(sheets_of(page))


def test_a_study_without_a_recorded_run_has_a_report(data: StudyData) -> None:
    data = with_info(data, runs=[])
    assert not any(name.startswith("last run") for name, _ in report_page(data, ALONE).facts)


def test_companions_join_the_report(
    store: StoreBuilder, new_store: Callable[..., StoreBuilder], data: StudyData
) -> None:
    assert related_studies(str(store.storage), data) == {}
    crossed = new_store(name="dropout-or-rate")
    for weight in (1, 10):
        for dropout in (0, 0.5):
            for rate in (0.001, 0.01):
                accuracy = 0.85 + 30 * (rate - 0.001) * 0.1 + 0.02 * dropout
                crossed.cell([accuracy] * 3, sharing=True, aux_weight=weight, dropout=dropout, learning_rate=rate)
    crossed.write_info(grid="dropout-or-rate")
    again = new_store(name="abc-confirm")
    again.cells = store.cells
    again.part("cell00", [0.81] * 3, first_seed=1_000_000)
    again.part("cell01", [0.84] * 3, first_seed=1_000_000)
    again.write_info(seeds=[1_000_000, 1_000_001, 1_000_002], confirms="abc")
    related = related_studies(str(store.storage), data)
    assert {what: study.name for what, study in related.items()} == {
        "confirmation": "abc-confirm",
        "crossed": "dropout-or-rate",
    }
    page = report_page(data, related)
    assert {"dropout-or-rate", "confirmation"} <= sheets_of(page).keys()
    # 30 * 0.009 * 0.1 = 0.027 for the rate, 0.01 for dropout, nothing for the weight and their interaction
    expected = "From the best cell without dropout to the best with dropout, accuracy changes by +3.7 ("
    assert page.summary[-2].startswith(expected)
    assert (
        "points in study dropout-or-rate (n = 3). Of these, the learning rate alone brings +2.7 (" in page.summary[-2]
    )


def test_a_study_on_other_data_has_other_related_studies(
    store: StoreBuilder, new_store: Callable[..., StoreBuilder]
) -> None:
    store.cell([0.8] * 3)
    data = store.load()
    crossed = new_store(name="dropout-or-rate-mnist")
    crossed.cell([0.8] * 3)
    crossed.write_info(grid="dropout-or-rate")
    assert related_studies(str(store.storage), data) == {}
    data.info.protocol["data"] = "mnist"
    assert related_studies(str(store.storage), data)["crossed"].name == "dropout-or-rate-mnist"


def test_estimates_are_json(data: StudyData) -> None:
    estimates = json.loads(json.dumps(estimates_of(report_page(data, ALONE)), allow_nan=False))
    (contrast,) = estimates["contrasts"]
    assert contrast["mean"] == pytest.approx((0.05 + 0.04 + 0.01) / 3)
    assert (contrast["n"], contrast["state"]) == (3, "complete")
    assert estimates["table1"][0]["test_accuracy_mean"] == pytest.approx(0.83)
    assert estimates["cells"][1]["sharing"] is True


def test_one_seed_has_estimates_without_spreads(new_store: Callable[..., StoreBuilder], tmp_path: Path) -> None:
    store = new_store(seeds=1)
    store.cell([0.8])
    store.cell([0.9], sharing=True)
    data = store.load()
    estimates = json.loads(json.dumps(estimates_of(report_page(data, ALONE)), allow_nan=False))
    assert (estimates["cells"][0]["test_accuracy_mean"], estimates["cells"][0]["test_accuracy_low"]) == (0.8, None)
    assert write_report(data, ALONE, tmp_path)[-1].name == "report.html"


def test_pictures_are_not_blank_and_differ(data: StudyData, tmp_path: Path) -> None:
    write_report(data, ALONE, tmp_path, ("png",))
    pictures = {path.stem: matplotlib.image.imread(path) for path in tmp_path.glob("*.png")}
    assert len(pictures) == 8
    for name, picture in pictures.items():
        assert 0.005 < (picture[..., :3].min(axis=-1) < 0.9).mean() < 0.6, name
    assert (pictures["figure2"] != pictures["figure3"]).any()


def test_the_same_rows_give_the_same_bytes(data: StudyData, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    first, second = (write_report(data, ALONE, tmp_path / name) for name in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert dict(matplotlib.rcParams) == before


def test_a_folder_that_cannot_be_written_is_refused(data: StudyData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            AnalysisError, match=f"cannot write the report to {out}: .*; give another folder with --out"
        ):
            write_report(data, ALONE, out, ("csv",))
