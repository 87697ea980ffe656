import pytest
from statsmodels.stats.power import TTestPower

from analysis.statistics.power import detectable, power, seeds_for, upper_std


def test_power_is_that_of_statsmodels() -> None:
    for effect, n in ((0.5, 10), (1.0, 10), (0.2, 80)):
        assert power(effect, n) == pytest.approx(TTestPower().power(effect, n, 0.05))
    for n in (2, 3, 10, 40):
        assert detectable(1.45, n) == pytest.approx(1.45 * TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8))


def test_seeds_are_the_fewest_that_have_the_power() -> None:
    for difference in (0.2, 0.5, 1.0, 2.0, 50.0):
        needed = seeds_for(difference, 1.45)
        assert power(difference / 1.45, needed) >= 0.8
        assert needed == 2 or power(difference / 1.45, needed - 1) < 0.8
    assert seeds_for(1.0, 1.45) == 19


def test_the_bound_of_a_pilot() -> None:
    # The lower 20 % point of chi-square with 9 degrees of freedom is 5.380 in printed tables.
    assert upper_std(1.0, 10) == pytest.approx((9 / 5.380) ** 0.5, rel=1e-4)
