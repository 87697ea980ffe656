"""Decisions at planned looks: how often one may look while seeds are added, and what each look may say.

A contrast is looked at when its cells have as many seeds as a look names, and at no other time. Each look has
a two-sided paired t test. Over all looks, the smallest of its p values is compared with what it would be
without an effect: Pocock's rule of one nominal level for each look ("Group sequential methods in the design
and analysis of clinical trials", Biometrika, 1977), turned into repeated confidence intervals as by Jennison
and Turnbull ("Interim analyses: the repeated confidence interval approach", JRSS B, 1989). Several contrasts
are corrected by Holm's procedure on their sequential p values (Maurer and Bretz, "Multiple testing in group
sequential trials using graphical approaches", Statistics in Biopharmaceutical Research, 2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.statistics.inference import holm

DRAWS = 1_000_000
DRAWS_SEED = 20_260  # the same looks give the same levels
DECIDED = ("differs", "within")
# Differences that spread by less than this share of the margin are alike but for rounding.
ROUNDING = 1e-9

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Replication:
    """At which numbers of seeds, ``looks`` in ascending order, a study's contrasts may be decided.

    ``margin`` is the largest difference that counts as none, in the unit of the differences;
    ``alpha`` the chance that any contrast without an effect is said to have one.
    """

    looks: tuple[int, ...]
    margin: float
    alpha: float = 0.05


@dataclass(frozen=True)
class Decision:
    """Where a contrast stands.

    ``verdict`` is ``differs``, ``within`` (the margin), ``undecided``, or ``waiting`` before the first
    look. ``n`` seeds were looked at last; ``low`` and ``high`` are the ends of the simultaneous interval
    there, NaN if all differences are alike. All of these are final once the contrast is decided. ``p`` is
    the sequential p value, ``p_holm`` the same corrected for the number of contrasts. ``next_look`` is
    None if it is decided or no look is left.
    """

    verdict: str
    n: int
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    next_look: int | None

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@lru_cache(maxsize=16)
def smallest_p(looks: tuple[int, ...]) -> Values:
    """Return the smallest p over all looks of ``DRAWS`` contrasts without an effect, in ascending order."""
    rng = np.random.default_rng(DRAWS_SEED)
    total = np.zeros(DRAWS)
    squares = np.zeros(DRAWS)
    smallest = np.ones(DRAWS)
    before = 0
    for look in looks:
        # Of the values between two looks, a t test needs only their sum and their sum of squares.
        added = look - before
        own = rng.normal(0, sqrt(added), DRAWS)
        total += own
        squares += own**2 / added
        if added > 1:
            squares += rng.chisquare(added - 1, DRAWS)
        error = np.sqrt(look * (squares - total**2 / look) / (look - 1))
        np.minimum(smallest, 2 * special.stdtr(look - 1, -np.abs(total) / error), out=smallest)
        before = look
    return np.sort(smallest)


def nominal_level(looks: tuple[int, ...], alpha: float) -> float:
    """Return the level of each look at which all looks together err for a share ``alpha`` of contrasts."""
    return float(smallest_p(looks)[int(alpha * DRAWS)])


def sequential_p(looks: tuple[int, ...], p: float) -> float:
    """Return the share of contrasts without an effect whose smallest p over all looks is at most ``p``."""
    drawn = smallest_p(looks)
    return float(np.searchsorted(drawn, p, side="right") / len(drawn))


def decide(differences: Sequence[Values], plan: Replication) -> list[Decision]:
    """Decide contrasts by their differences ``[n]``, one for each seed, in the order of the seeds.

    A contrast may have any number of seeds, also none; those beyond its last look wait for the next.
    Nothing else counts, so decisions are the same in whatever order seeds were added to the contrasts.
    """
    level = nominal_level(plan.looks, plan.alpha / max(1, len(differences)))
    standings = [_Standing(np.asarray(values, float), plan, level) for values in differences]
    for look in plan.looks:
        for standing in standings:
            standing.take(look)
        # A p value that falls at this look may let Holm's procedure go on to others.
        corrected = holm([sequential_p(plan.looks, standing.smallest) for standing in standings])
        for standing, p_holm in zip(standings, corrected, strict=True):
            standing.judge(p_holm)
    return [standing.decision() for standing in standings]


class _Standing:
    """What is known of a contrast look by look."""

    def __init__(self, values: Values, plan: Replication, level: float) -> None:
        self._values, self._plan, self._level = values, plan, level
        self.smallest = 1.0  # p value of a single look
        self._p_holm = 1.0
        self._verdict = "waiting"
        self._n = 0
        self._mean = self._low = self._high = nan

    def take(self, look: int) -> None:
        """Look at the first seeds, if there are so many and nothing is decided."""
        if self._verdict in DECIDED or len(self._values) < look:
            return
        own = self._values[:look]
        self._n, self._mean, self._verdict = look, float(own.mean()), "undecided"
        self._low = self._high = nan
        # Without a spread there is no t test, so such a look decides nothing.
        if np.ptp(own) > ROUNDING * self._plan.margin:
            error = float(own.std(ddof=1)) / sqrt(look)
            reach = -float(special.stdtrit(look - 1, self._level / 2)) * error
            self._low, self._high = self._mean - reach, self._mean + reach
            self.smallest = min(self.smallest, 2 * float(special.stdtr(look - 1, -abs(self._mean) / error)))

    def judge(self, p_holm: float) -> None:
        """Take in the corrected p value after a look."""
        if self._verdict != "undecided":
            return
        self._p_holm = p_holm
        if p_holm <= self._plan.alpha:
            self._verdict = "differs"
        elif -self._plan.margin <= self._low and self._high <= self._plan.margin:
            self._verdict = "within"

    def decision(self) -> Decision:
        """Return where the contrast stands after the last look."""
        left = [look for look in self._plan.looks if look > self._n]
        following = left[0] if left and self._verdict not in DECIDED else None
        p = sequential_p(self._plan.looks, self.smallest)
        return Decision(self._verdict, self._n, self._mean, self._low, self._high, p, self._p_holm, following)
