"""Simulations with a known truth: how often intervals cover it, and how often tests reject what is true."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.inference import Measure, compare, estimates, holm, paired_p

N = 10  # seeds, as in the report


def coverage(values: np.ndarray, truth: float) -> float:
    found = estimates(values)
    return float(np.mean([e.low <= truth <= e.high for e in found]))


def test_the_shown_interval_covers_at_its_level() -> None:
    values = np.random.default_rng(1).normal(0.86, 0.012, (4000, N))
    assert 0.93 < coverage(values, 0.86) < 0.97


def test_it_does_for_paired_differences_of_correlated_seeds() -> None:
    rng = np.random.default_rng(2)
    seeds = rng.normal(0, 0.02, (4000, N))  # what both cells of a pair have in common
    one, other = (seeds + rng.normal(mean, 0.01, seeds.shape) for mean in (0.83, 0.80))
    assert 0.93 < coverage(one - other, 0.03) < 0.97


def test_it_does_for_accuracies_of_a_thousand_test_pairs() -> None:
    rng = np.random.default_rng(3)
    accuracy = rng.binomial(1000, rng.normal(0.86, 0.01, (4000, N)).clip(0, 1)) / 1000
    assert 0.93 < coverage(accuracy, 0.86) < 0.97


def test_the_paired_test_rejects_a_true_null_in_five_of_a_hundred() -> None:
    rng = np.random.default_rng(5)
    seeds = rng.normal(0, 0.02, (4000, N))
    differences = (seeds + rng.normal(0, 0.01, seeds.shape)) - (seeds + rng.normal(0, 0.01, seeds.shape))
    assert 0.04 < np.mean([paired_p(row) < 0.05 for row in differences]) < 0.06


def test_holm_rejects_any_of_six_true_nulls_in_five_of_a_hundred() -> None:
    rng = np.random.default_rng(6)
    p_values = stats.ttest_1samp(rng.normal(0, 1, (1000, 6, N)), 0, axis=2).pvalue
    uncorrected = p_values[p_values.min(axis=1) < 0.05]
    assert len(uncorrected) > 200  # what it is there to prevent
    assert 0.03 < sum(min(holm(row.tolist())) < 0.05 for row in uncorrected) / len(p_values) < 0.065


def test_welch_covers_with_unequal_spreads_and_numbers() -> None:
    rng = np.random.default_rng(7)
    hits = []
    for one, other in zip(rng.normal(0.87, 0.005, (3000, 10)), rng.normal(0.86, 0.02, (3000, 20)), strict=True):
        _, low, high = compare(*(Measure.of(x.mean(), x.std(ddof=1), len(x)) for x in (one, other)))
        hits.append(low <= 0.01 <= high)
    assert 0.93 < np.mean(hits) < 0.97


@pytest.mark.parametrize(("contrasts", "possible"), [(25, True), (26, False)])
def test_an_exact_wilcoxon_at_ten_seeds_survives_few_contrasts(contrasts: int, possible: bool) -> None:
    """Its smallest two-sided p is 2 / 2**10, however large and sure the difference."""
    smallest = stats.wilcoxon(np.arange(1.0, 11), method="exact").pvalue
    assert smallest == pytest.approx(2 / 1024)
    others = [1.0] * (contrasts - 1)
    assert (min(holm([smallest, *others])) < 0.05) == possible
    assert paired_p(np.linspace(0.02, 0.03, 10)) * contrasts < 1e-6  # t has no such floor
