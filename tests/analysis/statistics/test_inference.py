import dataclasses

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.inference import Measure, compare, estimate, estimates, holm, paired_p


def test_an_estimate_by_hand() -> None:
    found = estimate(np.array([0.80, 0.82, 0.87]))
    # Deviations from 0.83: -0.03, -0.01, 0.04; their squares add up to 0.0026. t of 2 degrees of freedom: 4.303.
    std = (0.0026 / 2) ** 0.5
    assert (found.n, found.mean, found.std) == pytest.approx((3, 0.83, std))
    assert (found.low, found.high) == pytest.approx(
        (0.83 - 4.303 * std / 3**0.5, 0.83 + 4.303 * std / 3**0.5), rel=1e-4
    )


def test_one_value_has_no_spread_and_equal_ones_none() -> None:
    single = estimate(np.array([0.8]))
    assert (single.n, single.mean) == (1, 0.8)
    assert np.isnan([single.std, single.low, single.high]).all()
    same = estimates(np.array([[0.5, 0.5, 0.5], [0.25, 0.5, 0.75]]))
    assert dataclasses.astuple(same[0])[:3] == (3, 0.5, 0)
    assert np.isnan([same[0].low, same[0].high]).all()  # without a spread there is no t interval
    assert same[1].low < 0.5 < same[1].high


def test_nan_is_no_value() -> None:
    with pytest.raises(ValueError, match="expected values for all seeds, found NaN"):
        estimate(np.array([0.8, np.nan]))


def test_compare_is_welchs_interval() -> None:
    one, other = np.array([0.80, 0.82, 0.87]), np.array([0.70, 0.71, 0.72, 0.75])
    found = compare(*(Measure.of(x.mean(), x.std(ddof=1), len(x)) for x in (one, other)))
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((one.mean() - other.mean(), expected.low, expected.high))
    same = compare(Measure(0.8, 0.0, 9), Measure(0.7, 0.0, 9))
    assert same == pytest.approx((0.1, np.nan, np.nan), nan_ok=True)


def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_paired_p_is_that_of_a_t_test() -> None:
    assert paired_p(np.array([0.01, 0.02, 0.04])) == pytest.approx(stats.ttest_1samp([0.01, 0.02, 0.04], 0).pvalue)
    assert paired_p(np.array([0.0, 0.0])) == 1
    assert np.isnan([paired_p(np.array(values)) for values in ([0.1], [0.1, 0.1])]).all()


def test_a_tie_of_two_pairs_is_no_test_whatever_their_rounding() -> None:
    differences = np.array([0.92 - 0.9, 0.42 - 0.4])
    assert np.ptp(differences) > 0  # in the last bit: a t test of it has p < 1e-8
    assert np.isnan(paired_p(differences))
    assert np.isnan(estimate(differences).low)
    assert np.isnan(Measure(0.1, 0.0, 1).p)


def test_intervals_end_where_no_mean_can_be() -> None:
    # t of 1 degree of freedom is 12.7, and the standard error 0.01.
    found = estimate(np.array([0.97, 0.99]), (0, 1))
    assert (found.low, found.high) == (pytest.approx(0.98 - 12.706 * 0.01, abs=1e-4), 1)
