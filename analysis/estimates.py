"""Means, spreads and intervals over seeds; and a row for each planned cell: its means, or why it has none."""

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.load import FINISHED, StudyData

CONFIDENCE = 0.95
RESAMPLES = 9_999
AT_ONCE = 100  # cells whose resamples are held in memory together
Values = NDArray[np.float64]

SELECTING = ("test_accuracy", "val_accuracy")  # a seed without them is not finished
METRICS = (
    *("test_accuracy", "val_accuracy", "test_digit_accuracy", "best_test_accuracy"),
    *("train_accuracy", "train_digit_accuracy", "test_accuracy_by_probability"),  # older stores lack these
)


@dataclass(frozen=True)
class Estimate:
    """The mean of n values, in their unit, and how well it is known.

    ``std`` has ddof=1; ``low`` and ``high`` are the ends of the 95 % t interval, which is the one that is shown;
    ``bca_low`` and ``bca_high`` of the 95 % BCa bootstrap interval (Efron, "Better bootstrap confidence intervals",
    JASA 1987), which at n = 10 is too narrow: docs/LOG.md has its measured coverage. All four and ``std`` are NaN for
    one value.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float
    bca_low: float
    bca_high: float


def estimate(values: Values, rng: np.random.Generator) -> Estimate:
    """Estimate the mean of ``values`` ``[n]``; ``rng`` draws the bootstrap. Raises ValueError for NaN."""
    return estimates(np.asarray(values, float)[None], rng)[0]


def estimates(values: Values, rng: np.random.Generator) -> list[Estimate]:
    """Estimate the mean of each row of ``values`` ``[cells, n]``, n at least 1; the rows share their resamples."""
    values = np.asarray(values, float)
    if np.isnan(values).any():
        raise ValueError("expected values for all seeds, found NaN")
    count, n = values.shape
    means = values.mean(axis=1)
    nan = np.full(count, np.nan)
    stds, reach, bca = nan, nan, (nan, nan)
    if n > 1:
        stds = values.std(axis=1, ddof=1)
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stds / sqrt(n)
        bca = _bca(values, rng)
    columns = (means, stds, means - reach, means + reach, *bca)
    return [Estimate(n, *row) for row in np.column_stack(columns).tolist()]


def _bca(values: Values, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return both ends ``[cells]``; where all values are alike, they are the ends."""
    low, high = values[:, 0].copy(), values[:, 0].copy()
    spread = np.ptp(values, axis=1) > 0
    places = np.flatnonzero(spread)

    def find(first: int) -> np.random.Generator:
        """Fill in some rows; all draw the same resamples. Return the generator as it is afterwards."""
        own, rows = copy.deepcopy(rng), places[first : first + AT_ONCE]
        found = stats.bootstrap(
            (values[rows],),
            np.mean,
            axis=1,
            vectorized=True,
            batch=1_000,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=own,
        ).confidence_interval
        low[rows], high[rows] = found.low, found.high
        return own

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for used in pool.map(find, range(0, len(places), AT_ONCE)):
            after = used.bit_generator.state
    if len(places):
        rng.bit_generator.state = after
    return low, high


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
        a, b = self.se**2, other.se**2
        if a + b == 0:
            return Measure(self.mean - other.mean, 0.0, self.df + other.df)
        df = (a + b) ** 2 / (a**2 / self.df + b**2 / other.df)
        return Measure(self.mean - other.mean, sqrt(a + b), df)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the 95 % t interval."""
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.df)) * self.se
        return self.mean - reach, self.mean + reach

    @property
    def p(self) -> float:
        """The two-sided p value of the t test that the mean is zero; where nothing varies, 1 if it is, else 0."""
        return float(2 * stats.t.sf(abs(self.mean) / self.se, self.df)) if self.se else float(self.mean == 0)


def compare(first: Measure, second: Measure) -> tuple[float, float, float]:
    """Return first less second, and the ends of its 95 % interval."""
    found = first - second
    return found.mean, *found.ends


def paired_p(differences: Values) -> float:
    """Return the two-sided p value of a paired t test on ``differences`` ``[n]``, NaN for one pair.

    Where all are alike, it is 1 if they are zero, else 0.
    """
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:
        return float(differences[0] == 0)
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm, Scandinavian Journal of Statistics, 1979)."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return [float(value) for value in corrected[np.argsort(order, kind="stable")]]


def by_seed(data: StudyData, metric: str) -> pd.DataFrame:
    """Return ``metric`` by ``cell_id`` and seed, of those planned; NaN where there is no finished trial."""
    index, seeds = [cell["cell_id"] for cell in data.info["cells"]], data.info["seeds"]
    if metric not in data.trials:
        return pd.DataFrame(np.nan, index, seeds)
    rows = data.trials[data.trials["status"].isin(FINISHED)]
    return rows.pivot(index="cell_id", columns="seed", values=metric).reindex(index=index, columns=seeds).astype(float)


_summaries: WeakKeyDictionary[StudyData, pd.DataFrame] = WeakKeyDictionary()


def summarise_cells(data: StudyData) -> pd.DataFrame:
    """Return a row a planned cell, in the order of study.json: all its settings, and

    - ``n``, ``n_planned``, ``n_failed``: finished, planned and failed seeds; ``error``: of the first failed one;
    - ``state``: ``complete``, ``pruned`` (at ``pruned_epoch``), ``failed``, ``short`` of seeds, or ``missing``;
    - for each of METRICS, ``<metric>_mean`` and ``<metric>_std`` (ddof=1, NaN for one seed) over the seeds, in the
      metric's unit, NaN unless all planned seeds have finished: the mean of some seeds is not the cell's.

    It is made once for a study, whose cells, seeds and trials must not change afterwards.
    """
    if data not in _summaries:
        _summaries[data] = _summarise(data)
    return _summaries[data].copy()


def _summarise(data: StudyData) -> pd.DataFrame:
    cells = pd.DataFrame(data.info["cells"]).set_index("cell_id")
    planned = len(data.info["seeds"])
    rows = data.trials[data.trials["seed"].isin(data.info["seeds"])]
    rows = rows.assign(**{metric: np.nan for metric in METRICS if metric not in rows})
    finished = rows[rows["status"].isin(FINISHED)].dropna(subset=list(SELECTING)).groupby("cell_id")
    failed = rows[rows["status"] == "failed"].groupby("cell_id")
    cells["n"] = finished.size().reindex(cells.index, fill_value=0)
    cells["n_planned"] = planned
    cells["n_failed"] = failed.size().reindex(cells.index, fill_value=0)
    cells["error"] = failed["error"].first()
    cells["pruned_epoch"] = rows[rows["status"] == "pruned"].groupby("cell_id")["epochs"].max()
    states = {
        "complete": cells["n"] == planned,
        "pruned": cells["pruned_epoch"].notna(),
        "failed": cells["n_failed"] > 0,
        "short": cells["n"] > 0,
    }
    cells["state"] = np.select(list(states.values()), list(states), "missing")
    for metric in METRICS:
        whole = finished[metric].count() == planned
        cells[f"{metric}_mean"] = finished[metric].mean().where(whole)
        cells[f"{metric}_std"] = finished[metric].std(ddof=1).where(whole)
    return cells.reset_index()


def describe_state(cell: Mapping[Any, Any]) -> str:
    """Say in words how far a cell (a row of ``summarise_cells``) has come."""
    words = {
        "complete": "{n:.0f} seeds",
        "pruned": "pruned at epoch {pruned_epoch:.0f}",
        "failed": "failed: {n_failed:.0f} of {n_planned:.0f}",
        "short": "{n:.0f} of {n_planned:.0f} seeds",
        "missing": "not run",
    }
    return words[cell["state"]].format_map(cell)


def describe_settings(cell: Mapping[Any, Any], names: Iterable[str]) -> str:
    """Write the named settings of a cell as a grid file does: off and on, and no needless decimals."""
    return ", ".join(f"{name.replace('_', ' ')} {format_setting(cell[name])}" for name in names)


def format_setting(value: Any) -> str:
    """Write a setting as a grid file does."""
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
