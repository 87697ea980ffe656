from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.contrasts import contrasts_data
from analysis.statistics.contrasts_table import contrasts_sheet, precision_sheet
from analysis.statistics.looks import sequential_p
from tests.analysis.conftest import StoreBuilder, with_info

SHARING = {"name": "sharing", "plus": [{"sharing": True}], "minus": [{"sharing": False}]}


def contrast(name: str, plus: float, minus: float) -> dict[str, object]:
    return {"name": name, "plus": [{"aux_weight": plus}], "minus": [{"aux_weight": minus}]}


def test_a_contrast_is_paired_and_tested_by_t(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.84])
    store.cell([0.83, 0.84, 0.88], sharing=True)
    data = store.load()
    data = with_info(data, contrasts=[SHARING])
    (found,) = contrasts_data(data)
    assert found.estimate is not None
    assert found.state == "complete"
    assert (found.estimate.n, found.estimate.mean, found.estimate.std) == pytest.approx((3, 0.03, 0.01))
    expected = stats.ttest_rel([0.83, 0.84, 0.88], [0.80, 0.82, 0.84])
    assert (found.p, found.p_holm) == pytest.approx((expected.pvalue, expected.pvalue))
    assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert [cell["cell_id"] for cell in (*found.plus, *found.minus)] == ["cell01", "cell00"]


def test_holm_counts_the_complete_contrasts(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.84])
    store.cell([0.83, 0.84, 0.88], aux_weight=1)  # gains 0.03, 0.02, 0.04
    store.cell([0.80, 0.83, 0.86], aux_weight=3)  # gains 0.00, 0.01, 0.02
    store.part(store.plan(aux_weight=10), [0.5] * 3, status="pruned", epochs=20)
    data = store.load()
    data = with_info(
        data, contrasts=[contrast("a", 1, 0), contrast("b", 3, 0), contrast("c", 10, 0), contrast("d", 7, 0)]
    )
    a, b, c, d = contrasts_data(data)
    p_a, p_b = (stats.ttest_1samp(gains, 0).pvalue for gains in ([0.03, 0.02, 0.04], [0.00, 0.01, 0.02]))
    assert p_a < p_b
    assert (a.p_holm, b.p_holm) == pytest.approx((2 * p_a, max(2 * p_a, p_b)))
    assert (c.state, c.estimate, c.p_holm) == ("aux weight 10: pruned at epoch 20", None, None)
    assert d.state == "aux weight 7: not in this study"


def test_a_condition_of_many_stands_for_the_best_on_validation(store: StoreBuilder) -> None:
    store.cell([0.80, 0.80, 0.80], sharing=False)
    store.cell([0.85, 0.85, 0.85], [0.9, 0.9, 0.9], sharing=True, aux_weight=3)
    store.cell([0.99, 0.99, 0.99], [0.8, 0.8, 0.8], sharing=True, aux_weight=1)
    data = store.load()
    data = with_info(data, contrasts=[SHARING])
    (found,) = contrasts_data(data)
    assert found.estimate is not None
    assert found.estimate.mean == pytest.approx(0.05)
    assert found.p is not None
    assert np.isnan(found.p)  # the three differences are alike


def test_an_interaction_has_two_cells_on_either_side(store: StoreBuilder) -> None:
    for sharing, weight, accuracies in (
        (False, 0, [0.80, 0.82, 0.84]),
        (True, 0, [0.83, 0.85, 0.87]),
        (False, 1, [0.84, 0.85, 0.86]),
        (True, 1, [0.89, 0.90, 0.94]),
    ):
        store.cell(accuracies, sharing=sharing, aux_weight=weight)
    data = store.load()
    plus = [{"sharing": True, "aux_weight": 1}, {"sharing": False, "aux_weight": 0}]
    minus = [{"sharing": True, "aux_weight": 0}, {"sharing": False, "aux_weight": 1}]
    data = with_info(data, contrasts=[{"name": "interaction", "plus": plus, "minus": minus}])
    (found,) = contrasts_data(data)
    assert found.estimate is not None
    assert found.estimate.mean == pytest.approx(np.mean([0.02, 0.02, 0.05]))


def test_one_seed_has_a_difference_but_no_p(new_store: Callable[..., StoreBuilder]) -> None:
    store = new_store(seeds=1)
    store.cell([0.80])
    store.cell([0.83], sharing=True)
    data = store.load()
    data = with_info(data, contrasts=[SHARING])
    (found,) = contrasts_data(data)
    assert found.estimate is not None
    assert found.estimate.mean == pytest.approx(0.03)
    assert found.p is not None
    assert np.isnan(found.p)
    assert found.p_holm is None


def test_a_contrast_says_how_well_it_is_known(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.84])
    store.cell([0.83, 0.84, 0.88], sharing=True)
    data = with_info(store.load(), contrasts=[SHARING], draw={"each_seed": "resplit", "test_per_train": 1.25})
    (found,) = contrasts_data(data)
    # Differences of 3, 2 and 4 points have mean 3 and standard deviation 1; t of 2 degrees of freedom is 4.303.
    reach = 4.3027 * 0.01 * (1 / 3 + 1.25) ** 0.5
    assert found.new_data == pytest.approx((0.03 - reach, 0.03 + reach), abs=1e-6)
    assert found.correlation == pytest.approx(np.corrcoef([80, 82, 84], [83, 84, 88])[0, 1])
    # Two one-sided tests at 5 %: t is 2.920. By statsmodels, three seeds find 3.26 standard deviations.
    assert found.equivalent_within == pytest.approx(0.03 + 2.92 * 0.01 / 3**0.5, abs=1e-5)
    assert found.detectable == pytest.approx(0.0326, abs=1e-4)
    precision = precision_sheet(data, [found])
    cells = "sharing on minus sharing off; both with dropout 0, aux weight 0, learning rate 0.001"
    assert precision.texts == [["sharing", cells, "2.5", "3.3", "4.7", "0.94", "not recorded"]]
    row = contrasts_sheet(data, [found]).rows[0]
    assert (row["plus"], row["minus"], row["new_data_low"]) == ("cell01", "cell00", found.new_data[0])
    for draw in (None, {"each_seed": "fresh"}, {"each_seed": "same"}):
        (plain,) = contrasts_data(with_info(data, draw=draw))
        assert plain.new_data is None


def test_a_contrast_named_after_its_results_is_exploratory_and_costs_the_others_nothing(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.84])
    store.cell([0.83, 0.84, 0.88], aux_weight=1)
    store.cell([0.80, 0.83, 0.86], aux_weight=3)
    late, early = contrast("late", 1, 0), contrast("early", 3, 0)
    late["first_named"] = {"at": "2026-01-02", "trainings": 9}
    early["first_named"] = {"at": "2026-01-01", "trainings": 0}
    data = with_info(store.load(), contrasts=[late, early])
    first, second = contrasts_data(data)
    assert (first.name, first.named, first.p_holm) == ("early", "before its results", first.p)
    assert (second.name, second.named, second.p_holm) == ("late", "after 9 trainings", pytest.approx(2 * second.p))
    sheet = contrasts_sheet(data, [first, second])
    assert [texts[0] for texts in sheet.texts] == ["early", "late (exploratory)"]
    assert "exploratory" in sheet.caption


def test_seeds_that_were_added_after_a_look_make_p_larger(new_store: Callable[..., StoreBuilder]) -> None:
    store = new_store(seeds=20)
    values = np.random.default_rng(3).normal(0.8, 0.01, (2, 20))
    store.cell(values[0].tolist())
    store.cell(values[1].tolist(), sharing=True)
    data = store.load()
    (plain,) = contrasts_data(with_info(data, contrasts=[SHARING]))
    data = with_info(data, contrasts=[SHARING | {"seen": [10, 30]}])
    (grown,) = contrasts_data(data)
    ten = stats.ttest_rel(values[1][:10], values[0][:10]).pvalue
    assert grown.looks == (10, 20)
    assert grown.p == sequential_p((10, 20), min(ten, plain.p)) > min(ten, plain.p)
    sheet = contrasts_sheet(data, [grown])
    assert sheet.texts[0][-1] == "10, 20"
    assert "added after a look" in sheet.caption


def test_a_contrast_is_given_with_and_without_its_collapsed_seeds(new_store: Callable[..., StoreBuilder]) -> None:
    store = new_store(seeds=10)
    values = np.random.default_rng(4).normal(0.87, 0.01, (2, 10))
    values[1, 3] = 0.5
    store.cell(values[0].tolist())
    store.cell(values[1].tolist(), sharing=True)
    data = with_info(store.load(), contrasts=[SHARING])
    (found,) = contrasts_data(data)
    kept = np.delete(values[1] - values[0], 3)
    assert found.collapsed == (3,)
    assert found.estimate is not None
    assert found.estimate.mean == pytest.approx((values[1] - values[0]).mean())
    assert found.without is not None
    assert (found.without.n, found.without.mean) == (9, pytest.approx(kept.mean()))
    (note,) = contrasts_sheet(data, [found]).notes
    assert note.startswith("sharing: without the collapsed seed 3 it is ")
