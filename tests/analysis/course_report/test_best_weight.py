import numpy as np
from scipy import stats

from analysis.course_report.best_weight import not_worse


def test_two_rows_are_compared_by_a_one_sided_paired_t_test() -> None:
    # Ten differences of mean 0.59 and standard deviation 1 have t = 1.87, beyond 1.833; of mean 0.57, t = 1.80.
    spread = stats.zscore(np.arange(10.0), ddof=1)
    for mean, kept in ((0.57, [True, True]), (0.59, [True, False])):
        assert not_worse(np.array([spread + mean, np.zeros(10)])).tolist() == kept


def test_rivals_that_are_alike_need_no_test() -> None:
    values = np.array([[0.8, 0.9, 0.7], [0.8, 0.9, 0.7], [0.7, 0.8, 0.6]])
    assert not_worse(values).tolist() == [True, True, False]


def test_the_best_is_kept_in_95_of_100_studies_also_if_spreads_differ() -> None:
    rng = np.random.default_rng(7)
    kept = []
    for _ in range(150):
        seeds = 0.6 * rng.normal(size=10)
        kept.append(not_worse(seeds + np.array([[0.5], [1.0], [2.0]]) * rng.normal(size=(3, 10))))
    # All are equally good, so each is the best; 0.95 minus three standard errors of 150 studies is 0.897.
    assert np.mean(kept, axis=0).min() >= 0.897
    assert np.mean(kept) < 0.999
