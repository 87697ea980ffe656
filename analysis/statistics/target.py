"""What a study's intervals are about: these data, or new data of the same kind."""

from math import sqrt

from scipy import stats

from analysis.statistics.inference import CONFIDENCE, Estimate
from analysis.stored import StudyInfo

SAID = {
    "fresh": "Intervals and p values are about new data of the same kind: every seed has fresh data.",
    "resplit": "Intervals and p values are about these data: every seed splits the same data set anew, so seeds do "
    "not tell how another data set would come out. For new data of the same kind, contrasts have the wider interval "
    "of Nadeau and Bengio beside the plain one.",
    "same": "Intervals and p values are about these data only: all seeds have the same data, and differ by initial "
    "values and order. The study cannot say how new data would come out.",
    None: "Intervals and p values are about these data only: the study does not say whether its seeds have fresh "
    "data. Its grid can say so under draw.",
}


def target_in_words(info: StudyInfo) -> str:
    """Say what the intervals of a study are about."""
    return SAID[_kind(info)]


def _kind(info: StudyInfo) -> str | None:
    return None if info.draw is None else info.draw["each_seed"]


def new_data_ends(info: StudyInfo, found: Estimate) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval of a mean difference for new data from a pool that seeds re-split.

    The variance of the mean is (1/n + test/train) s^2 (Nadeau and Bengio, "Inference for the generalization error",
    Machine Learning, 2003): splits share examples, so that more of them cannot make it smaller than test/train s^2.
    None for other studies, whose plain interval is the only one.
    """
    if info.draw is None or _kind(info) != "resplit" or found.n < 2:
        return None
    error = found.std * sqrt(1 / found.n + info.draw["test_per_train"])
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, found.n - 1)) * error
    return (found.mean - reach, found.mean + reach) if reach else None
