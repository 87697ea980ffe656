"""How many seeds a difference needs, and which difference so many seeds can find: the paired t test's power.

The power of a t test is a probability of the noncentral F distribution (Cohen, "Statistical Power Analysis
for the Behavioral Sciences", 1988). A plan uses the upper bound of the pilot's standard deviation, as Browne
proposes ("On the use of a pilot sample for sample size determination", Statistics in Medicine, 1995): by the
estimate itself, half of all plans have less power than was asked for.
"""

from itertools import count
from math import sqrt

from scipy import optimize, special, stats

POWER = 0.8
ALPHA = 0.05
CONFIDENCE = 0.8  # that a pilot's bound is above the true standard deviation


def power(effect: float, n: int, alpha: float = ALPHA) -> float:
    """Return the chance that a two-sided paired t test of ``n`` seeds finds ``effect``, in standard deviations."""
    # The square of a t value has an F distribution, whose noncentral form scipy computes without gaps.
    critical = float(stats.f.isf(alpha, 1, n - 1))
    return 1 - float(special.ncfdtr(1, n - 1, n * effect**2, critical))


def detectable(std: float, n: int, alpha: float = ALPHA) -> float:
    """Return the smallest difference that ``n`` seeds, at least 2, find with 80 % power.

    ``std`` is that of the paired differences (ddof=1), in the unit of the result.
    """
    largest = 2 * float(stats.t.isf(alpha / 2, n - 1))  # it is found with more than 80 % power
    return std * float(optimize.brentq(lambda effect: power(effect, n, alpha) - POWER, 0, largest))


def upper_std(std: float, n: int) -> float:
    """Return the upper 80 % bound of a standard deviation that was estimated from ``n`` values, at least 2."""
    return std * sqrt((n - 1) / float(stats.chi2.ppf(1 - CONFIDENCE, n - 1)))


def seeds_for(difference: float, std: float, alpha: float = ALPHA) -> int:
    """Return how many seeds find ``difference``, above 0, with 80 % power; at least 2."""
    # Doubling finds a range of which the smallest is taken.
    enough = next(2**exponent for exponent in count(1) if power(difference / std, 2**exponent, alpha) >= POWER)
    return next(n for n in range(max(2, enough // 2), enough + 1) if power(difference / std, n, alpha) >= POWER)
