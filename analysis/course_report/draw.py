"""What one draw of the pairs adds to a figure of the course report.

The report's code drew its 1,000 training and 1,000 test pairs once, so its ± has no part of that draw. The variances
are those of grid ``protocol`` on all of MNIST, of seeds with a draw each minus seeds that share one
(n = 40; ``study run --grid protocol --data mnist --seeds 40``, then ``python -m benchmarks.verdicts protocol-mnist``).
"""

from dataclasses import dataclass
from math import sqrt

from analysis.course_report.reported import PROTOCOL
from analysis.statistics.inference import Measure

# A source that is a part of MNIST was drawn once too: its share of a draw's variance. The digits of
# mnist5k are 2.5 times as many as those of the test pairs.
POOLS = {"mnist5k": 0.4}


@dataclass(frozen=True)
class Draw:
    """A variance and its standard error, both of fractions, squared."""

    variance: float
    error: float

    def times(self, count: float, sampling: float = 0.0) -> Measure:
        """Return ``count`` independent draws as a measure of mean zero.

        ``sampling`` is added to the variance of each. The degrees of freedom are Satterthwaite's
        (Biometrics Bulletin, 1946) for a difference of variances, 2 (variance / error)^2.
        """
        variance = self.variance + sampling
        return Measure(0.0, sqrt(count * variance), 2 * (variance / self.error) ** 2)


# Of an accuracy, beyond what the number of test pairs makes (the binomial share): measured -0.17e-4, which is
# not known from zero. Of a paired gain, all of it.
ACCURACY = Draw(0.0, 0.31e-4)
GAIN = Draw(0.37e-4, 0.30e-4)


def draws(count: float, gain: bool, accuracy: float) -> Measure:
    """Return what ``count`` draws add to a gain, or to an accuracy of this size."""
    sampling = accuracy * (1 - accuracy) / PROTOCOL["test_pairs"]
    return GAIN.times(count) if gain else ACCURACY.times(count, sampling)
