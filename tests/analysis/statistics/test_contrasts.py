from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.contrasts import contrasts_data
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
