"""The made store is what a run leaves, and what the commands say of it is what pandas says, read without them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from analysis import load
from analysis.course_report.figures.aux_weight import SERIES, aux_weight_data
from analysis.figures.curves import CURVES, PANELS, curves_data, shown_cells
from analysis.load import StudyData, load_study
from analysis.report import estimates_of, report_page
from analysis.statistics.cells import LISTED, cells_sheet
from analysis.statistics.effects import anova_data, main_effects_data
from analysis.stored import SETTING_COLUMNS
from benchmarks.analysis import use_of
from benchmarks.made_store import EPOCHS, LENGTH, NAME, SEEDS, TRIALS, made_grid, make_store, write_grid
from study.store.store import Store

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("made")]  # one made store for all of them
TRIALS_MADE = 6_000  # 600 cells: more than are drawn, and than people read of


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_store(str(folder), made_grid(TRIALS_MADE))
    return folder


@pytest.fixture(scope="module")
def data(storage: Path) -> StudyData:
    return load_study(str(storage), NAME, shown_cells)


@pytest.fixture(scope="module")
def naive(storage: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_parquet(storage / NAME / "trials"), pd.read_parquet(storage / NAME / "epochs")


@pytest.mark.parametrize("pruned", [0.0, 0.5])
def test_the_made_store_is_a_runs_and_every_command_reads_it(tmp_path: Path, pruned: float) -> None:
    grid = made_grid(500)
    store = make_store(str(tmp_path), grid, pruned)
    write_grid(grid, tmp_path / "made.yaml")
    for kind, schema in (("trials", TRIALS), ("epochs", EPOCHS)):
        for path in (tmp_path / NAME / kind).iterdir():
            assert pq.read_schema(path).remove_metadata() == schema
    rows, unreadable = store.read_trials()
    assert unreadable == store.repair() == {}
    assert len(rows) == 500
    assert {row["status"] for row in rows} == ({"completed", "pruned"} if pruned else {"completed"})
    assert store.read_epochs().num_rows == sum(row["epochs"] for row in rows)
    for arguments in (
        ["analyze", NAME, "--storage", str(tmp_path), "--out", str(tmp_path / "report"), "--format", "html"],
        ["list", "--storage", str(tmp_path)],
        ["status", NAME, "--storage", str(tmp_path)],
        ["plan", "--grid", str(tmp_path / "made.yaml"), "--storage", str(tmp_path)],
    ):
        _, text = use_of(["-m", "study", *arguments])  # raises for an exit code other than 0
    assert "500 trials; in the store: " in text
    assert (tmp_path / "report" / "report.html").is_file()


def test_rows_by_column_are_those_of_all_columns(storage: Path) -> None:
    store = Store(str(storage), NAME)
    whole, _ = store.read_trials()
    asked, always = ("device",), ("cell_id", "trial_id", "seed", "status", "epochs", "val_accuracy", "error")
    rows = store.read_trials(*asked)[0]
    assert {*rows[0]} == {*asked, *always}
    assert rows == [{name: row[name] for name in rows[0]} for row in whole]


def test_only_the_files_and_columns_that_a_report_shows_are_read(
    storage: Path, data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, str, tuple[str, ...]]] = []
    read_part = load.read_part

    def watched(file: object, kind: load.Kind, name: str, *others: object) -> pa.Table:
        table = read_part(file, kind, name, *others)
        read.append((kind, name, tuple(table.column_names)))
        return table

    monkeypatch.setattr(load, "read_part", watched)
    load_study(str(storage), NAME, shown_cells, for_report=True)
    epochs = {name: columns for kind, name, columns in read if kind == "epochs"}
    assert {name.partition("-")[0] for name in epochs} == set(shown_cells(data))
    assert len(epochs) == PANELS * CURVES < len(data.info.cells) == TRIALS_MADE / len(SEEDS)
    assert set(map(frozenset, epochs.values())) == {frozenset({*load.CURVE_COLUMNS, "val_accuracy"})}
    unread = {*load.UNREAD_COLUMNS, *SETTING_COLUMNS}
    assert len(read) - len(epochs) == len(data.info.cells)  # every trials file, once
    assert {columns for kind, _, columns in read if kind == "trials"} == {
        tuple(name for name in TRIALS.names if name not in unread and not name.startswith("best_"))
    }


def test_every_cell_is_what_pandas_says(data: StudyData, naive: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    sheet = cells_sheet(data)
    cells = naive[0].groupby("cell_id")
    rows = pd.DataFrame(sheet.rows).set_index("cell_id")
    assert len(rows) == TRIALS_MADE / len(SEEDS)
    for metric in ("test_accuracy", "val_accuracy", "test_digit_accuracy"):
        pd.testing.assert_series_equal(
            rows[f"{metric}_mean"], cells[metric].mean().reindex(rows.index), check_names=False
        )
    std = cells["test_accuracy"].std().reindex(rows.index)
    pd.testing.assert_series_equal(rows["test_accuracy_std"], std, check_names=False)
    reach = stats.t.ppf(0.975, len(SEEDS) - 1) * std / len(SEEDS) ** 0.5
    np.testing.assert_allclose(rows["test_accuracy_high"] - rows["test_accuracy_mean"], reach)
    # People read the best by validation, in the order of the study.
    assert sheet.listed is not None
    shown = rows.iloc[list(sheet.listed)]
    assert len(shown) == len(sheet.texts) == LISTED
    assert shown["val_accuracy_mean"].min() >= rows.drop(shown.index)["val_accuracy_mean"].max()
    assert list(sheet.listed) == sorted(sheet.listed)


def test_main_effects_are_differences_of_means(data: StudyData, naive: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    effects = main_effects_data(data)
    levels = {name: naive[0][name].nunique() for name in ("sharing", "dropout", "learning_rate", "aux_weight")}
    assert len(effects) == sum(count - 1 for count in levels.values())
    for effect in effects:
        means = naive[0].groupby([effect.factor, "seed"])["test_accuracy"].mean()
        gains = means.loc[effect.value] - means.loc[effect.baseline]  # every value has the same cells of the others
        assert effect.pairs == TRIALS_MADE / len(SEEDS) / levels[effect.factor]
        assert effect.estimate.mean == pytest.approx(gains.mean())
        assert effect.estimate.std == pytest.approx(gains.std())


def test_the_drawn_curves_are_the_best_and_what_pandas_says(
    data: StudyData, naive: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    trials, epochs = naive
    infos = curves_data(data)
    assert [len(info.curves) for info in infos] == [CURVES] * PANELS
    means = trials.groupby(["sharing", "dropout", "cell_id"])["val_accuracy"].mean()
    best = means.groupby(["sharing", "dropout"]).max().nlargest(PANELS).index
    titles = {f"sharing {'on' if sharing else 'off'}, dropout {dropout:g}" for sharing, dropout in best}
    assert {info.title for info in infos} == titles
    for sharing, dropout in best:
        kept = means.loc[sharing, dropout].nlargest(CURVES).index
        by_epoch = epochs[epochs["cell_id"].isin(kept)].groupby(["cell_id", "epoch"])["val_accuracy"].mean()
        (info,) = (i for i in infos if i.title == f"sharing {'on' if sharing else 'off'}, dropout {dropout:g}")
        expected = sorted(tuple(100 * by_epoch.loc[cell_id]) for cell_id in kept)
        np.testing.assert_allclose(sorted(curve.mean for curve in info.curves), expected)
        assert {curve.epochs for curve in info.curves} == {tuple(range(1, LENGTH + 1))}


def test_the_page_says_what_it_leaves_out(data: StudyData) -> None:
    page = report_page(data, {})
    captions = {picture.name: picture.caption for section in page.sections for picture in section.pictures}
    assert f"; {600 - PANELS * CURVES} cells are left out." in captions["curves"]
    left_out = aux_weight_data(data, sharing=True).left_out
    assert left_out == 5 * len(made_grid(TRIALS_MADE).factors["learning_rate"].values) - SERIES > 0
    assert f"; {left_out} are left out." in captions["figure3"]
    assert len(json.loads(json.dumps(estimates_of(page)))["cells"]) == 600  # programs get all


def test_a_store_of_many_pruned_cells_has_a_short_list_of_warnings(tmp_path: Path) -> None:
    make_store(str(tmp_path), made_grid(1_500), pruned=0.6)
    page = report_page(load_study(str(tmp_path), NAME, shown_cells), {})
    pruned = sum(name.name.endswith("-pruned.parquet") for name in (tmp_path / NAME / "trials").iterdir())
    assert len(page.warnings) == 51
    assert page.warnings[-1] == f"Also not complete: {pruned - 50} pruned. The CSV file of all cells names them."


def test_the_analysis_of_variance_is_that_of_a_fitted_model(tmp_path: Path) -> None:
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    make_store(str(tmp_path), made_grid(1_000))
    trials = pd.read_parquet(tmp_path / NAME / "trials")
    terms = [f"C({name})" for name in ("sharing", "dropout", "learning_rate", "aux_weight")]
    pairs = [f"{a}:{b}" for i, a in enumerate(terms) for b in terms[i + 1 :]]
    table = anova_lm(smf.ols(f"test_accuracy ~ {' + '.join([*terms, *pairs, 'C(seed)'])}", trials).fit(), typ=2)
    found = {row.term: row for row in anova_data(load_study(str(tmp_path), NAME)).rows}
    assert len(found) == len(table)
    for term, row in table.iterrows():
        name = str(term).replace("C(", "").replace(")", "").replace(":", " x ").replace("_", " ").lower()
        assert (found[name].df, found[name].sum_sq) == pytest.approx((row["df"], row["sum_sq"]))
        if name != "residual":
            assert (found[name].f, found[name].p) == pytest.approx((row["F"], row["PR(>F)"]))
