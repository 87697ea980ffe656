import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import matplotlib.image
import pytest

from analysis.load import AnalysisError
from analysis.report import write_report
from analysis.tables import table1_csv, table1_data, table1_latex, table1_markdown
from tests.analysis.conftest import StoreBuilder

NAMES = [
    "table1.md",
    "table1.csv",
    "table1.tex",
    "figure2.svg",
    "figure2.png",
    "figure3.svg",
    "figure3.png",
    "report.md",
]


def test_all_files_are_written_the_report_last(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    out = tmp_path / "reports" / "abc"
    written = write_report(data, out)
    assert written == [out / name for name in NAMES]
    assert sorted(out.iterdir()) == sorted(written)
    table = table1_data(data)
    for name, text in zip(NAMES, (table1_markdown(table), table1_csv(table), table1_latex(table)), strict=False):
        assert (out / name).read_text(encoding="utf-8") == text


def test_the_report_says_what_was_asked_found_and_run(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    report = write_report(store.load(), tmp_path)[-1].read_text(encoding="utf-8")
    for expected in (
        "# Study abc\n",
        "what do weight sharing, an auxiliary digit\nloss and dropout each buy?",
        "83.0 ± 3.6 (n = 3)",
        "(figure2.svg)",
        "(figure3.svg)",
        "- Grid: full, 1 cells of 3 seeds\n- Trials: 3 completed; 3 planned\n- data: mnist5k\n",
        "commit: 1234abcd\n",
        "torch 2.11.0, ray 2.55.0\n",
    ):
        assert expected in report
    assert "not complete" not in report
    assert "cannot be read" not in report


def test_the_report_names_what_is_missing(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([None], status="failed", aux_weight=1, sharing=True)
    store.part(store.plan(aux_weight=3), [0.5] * 3, status="pruned", epochs=20)
    store.cell([0.5, 0.5], status="converged", aux_weight=100)
    damaged = store.part(store.plan(aux_weight=10), [0.5])
    damaged.write_bytes(b"PAR1")
    report = write_report(store.load(), tmp_path)[-1].read_text(encoding="utf-8")
    for expected in (
        "5 cells of 3 seeds\n- Trials: 3 completed, 3 pruned, 2 converged, 1 failed, 6 not run; 15 planned\n",
        "- sharing on, dropout 0, aux weight 1, learning rate 0.001: failed: 1 of 3 (RuntimeError: worker lost)\n",
        "- sharing off, dropout 0, aux weight 3, learning rate 0.001: pruned at epoch 20\n",
        "- sharing off, dropout 0, aux weight 10, learning rate 0.001: not run\n",
        "- sharing off, dropout 0, aux weight 100, learning rate 0.001: 2 of 3 seeds\n",
        f"- trials/{damaged.name}\n",
    ):
        assert expected in report


def test_a_study_without_a_recorded_run_has_a_report(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    data.info["runs"] = []
    assert "Last run" not in write_report(data, tmp_path)[-1].read_text(encoding="utf-8")


def test_the_last_run_is_described(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    data.info["runs"].append({"commit": "5678", "data_sha256": "abc123", "machine": {"cpus": 2}})
    report = write_report(data, tmp_path)[-1].read_text(encoding="utf-8")
    assert "- Last run, commit: 5678\n- Last run, data_sha256: abc123\n- Last run, machine: cpus 2\n" in report
    assert "1234abcd" not in report


def test_training_time_is_added_up(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    timed = dataclasses.replace(data, trials=data.trials.assign(train_time_s=[3600, 125.4, float("nan")]))
    line = "- Training time, h:min:s, added up over the trials: 1:02:05\n"
    assert line in write_report(timed, tmp_path)[-1].read_text(encoding="utf-8")
    assert "Training time" not in write_report(data, tmp_path)[-1].read_text(encoding="utf-8")


def test_trials_that_are_not_planned_are_not_counted(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87, 0.88])  # of three planned seeds
    store.cell([0.80, 0.82, 0.87], aux_weight=1)
    store.cells.pop()
    report = write_report(store.load(), tmp_path)[-1].read_text(encoding="utf-8")
    assert "- Trials: 3 completed; 3 planned\n" in report


def test_a_failure_without_a_recorded_error_is_named(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([None], status="failed", aux_weight=1)
    data = store.load()
    report = write_report(dataclasses.replace(data, trials=data.trials.assign(error=None)), tmp_path)[-1]
    assert "learning rate 0.001: failed: 1 of 3\n" in report.read_text(encoding="utf-8")


def test_pictures_are_not_blank_and_differ(store: StoreBuilder, tmp_path: Path) -> None:
    for sharing in (False, True):
        store.cell([0.80, 0.82, 0.87], sharing=sharing, aux_weight=3)
    write_report(store.load(), tmp_path)
    pictures = [matplotlib.image.imread(tmp_path / f"figure{number}.png") for number in (2, 3)]
    for picture in pictures:
        assert picture.shape[1] > picture.shape[0] > 600
        assert 0.01 < (picture[..., :3].min(axis=-1) < 0.9).mean() < 0.5
    assert (pictures[0] != pictures[1]).any()
    for number in (2, 3):
        assert ElementTree.parse(tmp_path / f"figure{number}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_rows_give_the_same_bytes(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87], aux_weight=3)
    before = dict(matplotlib.rcParams)
    first, second = (write_report(store.load(), tmp_path / name) for name in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert b"date" not in (tmp_path / "first" / "figure2.svg").read_bytes().lower()
    assert b"Matplotlib version" not in (tmp_path / "first" / "figure2.png").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_a_folder_that_cannot_be_written_is_refused(store: StoreBuilder, tmp_path: Path) -> None:
    store.cell([0.80, 0.82, 0.87])
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            AnalysisError, match=f"cannot write the report to {out}: .*; give another folder with --out"
        ):
            write_report(store.load(), out)
