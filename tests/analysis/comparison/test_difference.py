import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from analysis.comparison.difference import difference_data
from analysis.comparison.difference_tables import difference_sheet, provenance_sheet, summarise_difference
from analysis.load import load_study
from analysis.stored import AnalysisError
from tests.analysis.conftest import PROTOCOL

A = ([0.80, 0.82, 0.79, 0.85], [0.70, 0.71, 0.74, 0.73], [0.60, 0.61, 0.66, 0.65])
B = ([0.84, 0.85, 0.84, 0.89], [0.70, 0.72, 0.73, 0.75], [0.64, 0.63, 0.69, 0.66])
RUN = {"commit": "1234abcd", "packages": {"torch": "2.11.0", "ray": "2.55.0"}, "device": "cpu", "started_at": "x"}


@pytest.fixture
def pair(new_store):
    """Start studies a and b of four seeds."""
    return new_store(name="a", seeds=4), new_store(name="b", seeds=4)


def compared(a, b, **changes):
    b.write_info(**changes)
    return difference_data(a.load(), load_study(str(b.storage), b.name), ("a", "b"))


def test_paired_by_seed_as_scipy_and_statsmodels_have_it(pair):
    for store, cells in zip(pair, (A, B), strict=True):
        for weight, values in enumerate(cells):
            store.cell(values, [value - 0.1 * value**2 for value in values], aux_weight=weight)
    found = compared(*pair)
    p_values = {"test_accuracy": [], "val_accuracy": []}
    for cell, a, b in zip(found.cells, A, B, strict=True):
        assert (cell.both, cell.only_a, cell.only_b, cell.identical) == (4, 0, 0, sum(np.equal(a, b)))
        gains = {"test_accuracy": np.subtract(b, a)}
        gains["val_accuracy"] = np.subtract(*(np.array(x) - 0.1 * np.array(x) ** 2 for x in (b, a)))
        for figure, gain in gains.items():
            change, tested = cell.changes[figure], stats.ttest_1samp(gain, 0)
            assert (change.pairs, change.mean) == (4, pytest.approx(gain.mean()))
            assert (change.low, change.high) == pytest.approx(tuple(tested.confidence_interval(0.95)))
            assert (change.low, change.high) == pytest.approx(DescrStatsW(gain).tconfint_mean(0.05))
            assert change.p == pytest.approx(tested.pvalue)
            p_values[figure].append(tested.pvalue)
    for figure, values in p_values.items():
        corrected = [cell.changes[figure].p_holm for cell in found.cells]
        assert corrected == pytest.approx(multipletests(values, method="holm")[1])
    assert [cell.changes["epochs"].mean for cell in found.cells] == [0, 0, 0]
    words = summarise_difference(found)
    assert "Cells: 3 in both, 0 only in A, 0 only in B." in words
    assert "1 of the 12 trials in both have the same bits, in their result and in every epoch." in words
    assert "Test accuracy differs in 1 of 3 cells (p < 0.05 after Holm's correction)." in words


def test_other_seeds_are_compared_by_welch(new_store):
    a, b = new_store(name="a", seeds=4), new_store(name="b", seeds=9)
    a.cell(A[0])
    cell = b.plan()
    b.part(cell, [*B[0], 0.95], first_seed=4, epochs=7)
    found = compared(a, b).cells[0]
    assert (found.both, found.only_a, found.only_b) == (0, 4, 5)
    change, tested = found.changes["test_accuracy"], stats.ttest_ind([*B[0], 0.95], A[0], equal_var=False)
    assert change.pairs == 0
    assert change.mean == pytest.approx(np.mean([*B[0], 0.95]) - np.mean(A[0]))
    assert (change.low, change.high) == pytest.approx(tuple(tested.confidence_interval(0.95)))
    means = CompareMeans(DescrStatsW([*B[0], 0.95]), DescrStatsW(A[0]))
    assert (change.low, change.high) == pytest.approx(means.tconfint_diff(0.05, usevar="unequal"))
    assert change.p == change.p_holm == pytest.approx(tested.pvalue)
    assert found.changes["epochs"].mean == 5
    assert found.changes["epochs"].p is None  # nothing varies: 2 in each, 7 in each


def test_one_common_seed_says_nothing_of_the_spread(new_store):
    a, b = new_store(name="a", seeds=1), new_store(name="b", seeds=3)
    a.cell([0.5])
    b.cell([0.75, 0.5, 0.5])
    change = compared(a, b).cells[0].changes["test_accuracy"]
    assert (change.mean, change.pairs, change.low, change.p, change.p_holm) == (0.25, 1, None, None, None)


def test_the_same_rows_are_said_to_be_so(pair):
    for store in pair:
        store.cell(A[0])
    found = compared(*pair, runs=[RUN])
    assert found.cells[0].identical == 4
    assert found.cells[0].changes["test_accuracy"].p == 1
    assert (
        summarise_difference(found)[-1]
        == "All of the 4 trials in both have the same bits, in their result and in every epoch."
    )
    assert difference_sheet(found).texts[0][3] == "4, same bits"
    assert found.provenance == {}


def test_another_epoch_is_another_training_even_with_the_same_end(pair):
    a, b = pair
    a.cell(A[0])
    cell = b.plan()
    b.part(cell, A[0][:2])
    path = b.part(cell, A[0][2:], first_seed=2)
    path = b.folder / "epochs" / path.name
    table = pq.read_table(path)
    losses = [[1.0, 0.5, 1.0, np.nextafter(0.5, 1)]]  # the last bit of the last seed's last epoch
    pq.write_table(table.set_column(table.column_names.index("train_loss"), "train_loss", losses), path)
    assert compared(a, b).cells[0].identical == 3


def test_pruned_and_missing_cells_have_a_state_and_no_number(pair):
    a, b = pair
    for store, status in ((a, "completed"), (b, "pruned")):
        store.cell(A[0], status=status, aux_weight=1)
    a.cell(A[1], aux_weight=3)
    b.cell(A[2], aux_weight=10)
    first, only_a, only_b = compared(a, b).cells
    assert (first.state_a, first.state_b, first.both, first.only_a) == ("4 seeds", "pruned at epoch 2", 0, 4)
    assert set(first.changes.values()) == {None}
    assert (only_a.cell_id_b, only_a.state_b, only_a.settings["aux_weight"]) == (None, "not in this study", 3)
    assert (only_b.cell_id_a, only_b.state_a, only_b.only_b) == (None, "not in this study", 4)
    found = compared(a, b)
    assert "Cells: 1 in both, 1 only in A, 1 only in B." in summarise_difference(found)
    assert "Finished trials: 0 in both, 8 only in A, 4 only in B." in summarise_difference(found)
    assert [row[1:5] for row in difference_sheet(found).texts] == [["4 seeds", "pruned at epoch 2", "–", "–"]]


def test_studies_that_differ_in_a_setting_on_purpose_match_by_their_factors(pair):
    a, b = pair
    for store, batch in ((a, 100), (b, 50)):
        for weight in (0, 1):
            store.cell(A[weight] if store is a else B[weight], aux_weight=weight, batch_size=batch)
    a.write_info(protocol=PROTOCOL | {"batch_size": 100})
    b.write_info(protocol=PROTOCOL | {"batch_size": 50})
    found = difference_data(*(load_study(str(store.storage), store.name) for store in pair), ("a", "b"))
    assert found.protocol == {"batch_size": (100, 50)}
    assert [cell.both for cell in found.cells] == [4, 4]
    words = "The studies differ in settings that are not factors: batch size 100 in A, 50 in B. "
    assert words + "Cells match by all other settings." in summarise_difference(found)


def test_a_factor_of_one_is_matched_by_its_value(pair):
    a, b = pair
    a.roles |= {"batch_size": "scientific"}
    for batch in (100, 50):
        a.cell(A[0], batch_size=batch)
    b.cell(A[0], batch_size=50)
    found = compared(a, b, protocol=PROTOCOL | {"batch_size": 50})
    assert [(cell.settings["batch_size"], cell.both, cell.only_a) for cell in found.cells] == [(50, 4, 0), (100, 0, 4)]
    assert found.protocol == {}


def test_a_study_that_does_not_tell_a_factor_is_refused(pair):
    a, b = pair
    a.roles |= {"batch_size": "scientific"}
    for batch in (100, 50):
        a.cell(A[0], batch_size=batch)
    b.cell(A[0])
    with pytest.raises(AnalysisError, match="a has cells that differ only in settings that the other study does not"):
        compared(a, b)


def test_where_they_come_from_is_told_where_it_differs(pair):
    for store in pair:
        store.cell(A[0])
    runs = [RUN, RUN | {"commit": "5678", "packages": {"torch": "2.12.0", "ray": "2.55.0"}, "data_sha256": "ff"}]
    found = compared(*pair, runs=runs)
    assert found.provenance == {
        "commit": ("1234abcd", "1234abcd, 5678"),
        "packages torch": ("2.11.0", "2.11.0, 2.12.0"),
        "data sha256": ("unknown", "ff"),
    }
    assert provenance_sheet(found).texts[0] == ["commit", "1234abcd", "1234abcd, 5678"]
    json.dumps(found.provenance)
