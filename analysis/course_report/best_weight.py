"""Which auxiliary weights may be the best: those that no other is shown to beat."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.inference import CONFIDENCE, Values

SEED = 0  # of the numerical integral, so that the same values always give the same rows


def not_worse(values: Values) -> NDArray[np.bool_]:
    """Tell which rows of ``values`` ``[k, n]``, n at least 2, may have the highest true mean.

    The rows ``[k]`` that are kept have the best among them in 95 of 100 studies. A row is left out if another
    one is better by a paired one-sided t test, corrected for all its rivals at once: the simultaneous comparison
    with the best of Hsu (Multiple Comparisons, 1996), with the measured correlations in a multivariate t.
    """
    n = values.shape[1]
    kept = []
    for row in values:
        leads = values - row
        spread = leads.std(axis=1, ddof=1)
        # A lead that is the same in all seeds needs no test; the row itself has none.
        certain = bool((leads.mean(axis=1)[spread == 0] > 0).any())
        leads, spread = leads[spread > 0], spread[spread > 0]
        if certain or not len(leads):
            kept.append(not certain)
            continue
        largest = (leads.mean(axis=1) / spread).max() * np.sqrt(n)
        shape = np.atleast_2d(np.corrcoef(leads))
        joint = stats.multivariate_t(shape=shape, df=n - 1, allow_singular=True, seed=SEED)
        kept.append(bool(joint.cdf(np.full(len(leads), largest)) <= CONFIDENCE))
    return np.array(kept)
