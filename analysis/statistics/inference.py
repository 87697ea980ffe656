"""Confidence intervals, paired comparisons, and corrections for their number."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf, nan, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

CONFIDENCE = 0.95
ROUNDING = 1e-9  # values that spread by a smaller share of the largest are alike

Values = NDArray[np.float64]
Limits = tuple[float, float]  # between which a metric's means can lie
NO_LIMITS = (-inf, inf)


@dataclass(frozen=True)
class Estimate:
    """The mean of n values, in their unit, and how well it is known.

    ``std`` has ddof=1, and ``low`` and ``high`` are the ends of the 95 % t interval. All three are
    NaN for one value, and the ends also if all values are alike: without a spread there is no t interval.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float


def estimate_as_row(found: Estimate | None) -> dict[str, float | None]:
    """Return the fields of an estimate by name, for a table; all of them None without one."""
    return {item.name: None if found is None else getattr(found, item.name) for item in fields(Estimate)}


def estimate(values: Values, limits: Limits = NO_LIMITS) -> Estimate:
    """Estimate the mean of ``values`` ``[n]`` as ``estimates`` does. Raises ValueError for NaN."""
    return estimates(np.asarray(values, float)[None], limits)[0]


def estimates(values: Values, limits: Limits = NO_LIMITS) -> list[Estimate]:
    """Estimate the mean of each row of ``values`` ``[cells, n]``, n at least 1. Raises ValueError for NaN.

    No mean can lie beyond the ``limits``, so intervals end there: that changes no coverage.
    """
    values = np.asarray(values, float)
    if np.isnan(values).any():
        raise ValueError("expected values for all seeds, found NaN")
    count, n = values.shape
    means = values.mean(axis=1)
    # One value says nothing about the spread.
    stds = reach = np.full(count, np.nan)
    if n > 1:
        stds = np.where(are_alike(values), 0.0, values.std(axis=1, ddof=1))
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.where(stds > 0, stds, np.nan) / sqrt(n)
    ends = np.clip((means - reach, means + reach), *limits)
    return [Estimate(n, *row) for row in np.column_stack([means, stds, *ends]).tolist()]


def are_alike(values: Values) -> Any:
    """Tell for each row of ``values`` ``[..., n]`` whether they differ by rounding only."""
    return np.ptp(values, axis=-1) <= ROUNDING * np.abs(values).max(axis=-1)


@dataclass(frozen=True)
class Measure:
    """A mean with its standard error, known with ``df`` degrees of freedom."""

    mean: float
    se: float
    df: float

    @classmethod
    def of(cls, mean: float, std: float, n: int) -> Self:
        """Take the mean of n values with standard deviation ``std`` (ddof=1)."""
        return cls(mean, std / sqrt(n), n - 1)

    def __sub__(self, other: "Measure") -> "Measure":
        """Subtract an independent measure; degrees of freedom by Welch (Biometrika, 1947) and Satterthwaite."""
        a = self.se**2
        b = other.se**2
        if a + b == 0:  # nothing varies, and the formula below would be 0 / 0
            return Measure(self.mean - other.mean, 0.0, self.df + other.df)
        df = (a + b) ** 2 / (a**2 / self.df + b**2 / other.df)
        return Measure(self.mean - other.mean, sqrt(a + b), df)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the 95 % t interval; NaN if nothing varies."""
        return self.mean - self.reach(), self.mean + self.reach()

    def reach(self, confidence: float = CONFIDENCE) -> float:
        """Return half the width of the t interval with this confidence; NaN if nothing varies."""
        return float(special.stdtrit(self.df, (1 + confidence) / 2)) * (self.se or nan)

    @property
    def p(self) -> float:
        """The two-sided p value of the t test that the mean is zero; if nothing varies, NaN, or 1 if it is zero."""
        if not self.se:
            return nan if self.mean else 1.0
        return float(2 * stats.t.sf(abs(self.mean) / self.se, self.df))


def compare(first: Measure, second: Measure) -> tuple[float, float, float]:
    """Return first minus second, and the ends of its 95 % interval."""
    found = first - second
    return found.mean, *found.ends


def paired_p(differences: Values) -> float:
    """Return the two-sided p of a paired t test on ``differences`` ``[n]``.

    It is NaN for one pair, and if all differences are alike: without a spread there is no t test. Only
    differences that are all zero have a p of 1.
    """
    if len(differences) < 2 or are_alike(differences):
        return nan if len(differences) < 2 or np.any(differences) else 1.0
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm, Scandinavian Journal of Statistics, 1979)."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    # The smallest is multiplied by n, the next by n - 1, and none may be smaller than the one before.
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return list(map(float, corrected[np.argsort(order)]))
