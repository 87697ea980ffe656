"""How often the rules for contrasts err, in studies whose truth is known: ``python -m benchmarks.intervals``.

Prints the table of docs/statistics.md: seeds that re-split one data set, seeds that were added after a look,
collapsed seeds, and ties of two seeds. Before is the plain paired t test, after is what a report shows.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.collapse import are_collapsed
from analysis.statistics.inference import Estimate, Values, are_alike, estimates
from analysis.statistics.looks import nominal_level
from analysis.statistics.target import new_data_ends
from analysis.stored import StudyInfo

FEATURES = 10  # of each learner
STUDIES = 1_000
MANY = 20_000


def resplit_differences(rng: np.random.Generator, n: int, fresh: bool) -> Values:
    """Return differences ``[n]`` of the accuracies of two learners that are equally good by symmetry.

    Each reads its own half of the features, and fits by least squares 284 of 569 examples; 171 are the test.
    The seeds split one data set, or with ``fresh`` each has its own.
    """
    differences = []
    pool = _examples(rng)
    for _ in range(n):
        inputs, labels = _examples(rng) if fresh else pool
        order = rng.permutation(len(labels))
        train, test = order[:284], order[284 : 284 + 171]
        right = []
        for half in (slice(0, FEATURES), slice(FEATURES, None)):
            own = np.column_stack([inputs[:, half], np.ones(len(labels))])
            weights = np.linalg.lstsq(own[train], labels[train], rcond=None)[0]
            right.append((np.sign(own[test] @ weights) == labels[test]).mean())
        differences.append(right[0] - right[1])
    return np.array(differences)


def _examples(rng: np.random.Generator) -> tuple[Values, Values]:
    labels = rng.choice([-1.0, 1.0], 569)
    return rng.normal(0.3 * labels[:, None], 1, (569, 2 * FEATURES)), labels


def resplit_errors(n: int, fresh: bool = False, studies: int = STUDIES) -> tuple[float, float]:
    """Return the shares of studies in which zero is outside of the plain and of the Nadeau-Bengio interval."""
    rng = np.random.default_rng(n)
    info = StudyInfo("", "", {}, (), (), {}, (), draw={"each_seed": "resplit", "test_per_train": 171 / 284})
    plain = wide = 0
    for found in estimates(np.array([resplit_differences(rng, n, fresh) for _ in range(studies)])):
        ends = new_data_ends(info, found)
        assert ends is not None
        plain += _misses(found, 0.0)
        wide += not ends[0] <= 0 <= ends[1]
    return plain / studies, wide / studies


def _misses(found: Estimate, truth: float) -> bool:
    return not found.low <= truth <= found.high


def growth_errors(looks: tuple[int, ...], studies: int = MANY) -> tuple[float, float]:
    """Return the shares of studies without an effect in which one is claimed at one of the looks.

    Before: p of the plain test at each look, until it is below 5 %. After: that of the first look, and then the
    sequential p of the looks that there were.
    """
    values = np.random.default_rng(len(looks)).normal(0, 1, (studies, looks[-1]))
    p = np.array([stats.ttest_1samp(values[:, :look], 0, axis=1).pvalue for look in looks])
    levels = [0.05, *(nominal_level(looks[: count + 1], 0.05) for count in range(1, len(looks)))]
    smallest = np.minimum.accumulate(p)
    return float((p < 0.05).any(axis=0).mean()), float((smallest < np.array(levels)[:, None]).any(axis=0).mean())


def collapse_errors(n: int, studies: int = 2_000) -> tuple[float, float]:
    """Return how often the interval of a cell's mean misses it, if 2 % of seeds end at 50 instead of 87.

    Each study has six cells, of which one counts. Before: all seeds, for the mean of all trainings. After:
    without the seeds that the rule names, for the mean of trainings that do not collapse.
    """
    rng = np.random.default_rng(n)
    before = after = 0
    for _ in range(studies):
        cells = 87 + rng.normal(0, 0.6, n) + rng.normal(0, 1.08, (6, n))
        cells = np.where(rng.random(cells.shape) < 0.02, 50 + rng.normal(0, 1.6, cells.shape), cells)
        kept = ~are_collapsed(pd.DataFrame(cells)).to_numpy()[0]
        before += _misses(estimates(cells[:1])[0], 87 - 0.02 * 37)
        after += _misses(estimates(cells[:1, kept])[0], 87.0)
    return before / studies, after / studies


def tie_errors(studies: int = MANY) -> tuple[float, float]:
    """Return the shares of studies of two seeds, on 100 test examples, whose differences tie: p is 0, or none."""
    counts = np.random.default_rng(0).binomial(100, 0.97, (2, studies, 2))
    differences = (counts[0] - counts[1]) / 100
    tied = are_alike(differences) & differences.any(axis=1)
    return float(tied.mean()), 0.0


def main() -> None:
    """Print the table."""
    print("| studies without an effect, or coverage | before, % | after, % |\n|---|---|---|")
    for n in (10, 20):
        _row(f"seeds re-split 569 examples, n = {n}: zero outside the interval", *resplit_errors(n))
    _row("seeds with fresh examples, n = 10", resplit_errors(10, fresh=True)[0], None)
    for looks in ((10, 20), (10, 20, 30), (10, 20, 30, 40, 50)):
        _row(f"seeds added after looks at {', '.join(map(str, looks))}", *growth_errors(looks))
    for n in (10, 20):
        _row(f"2 % of seeds collapsed, n = {n}: the interval of a cell misses its mean", *collapse_errors(n))
    _row("two seeds, 100 test examples: p = 0 by a tie", *tie_errors())


def _row(what: str, before: float, after: float | None) -> None:
    print(f"| {what} | {100 * before:.1f} | {'' if after is None else f'{100 * after:.1f}'} |")


if __name__ == "__main__":
    main()
