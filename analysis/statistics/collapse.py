"""Collapsed seeds: trainings that ended far below the other seeds of their cell, for example at chance level.

A mean over seeds with a collapsed one says little of the others, and its t interval covers the truth far too
seldom (docs/statistics.md). So such seeds are named, with their share; no seed is left out because of it.
"""

from weakref import WeakKeyDictionary

import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.statistics.cells import by_seed, describe_settings, summarise_cells

FAR = 10  # robust standard deviations; docs/statistics.md has how often the rule errs
FEW = 3  # seeds that tell too little of their own cell's spread
MAD_TO_STD = 1.4826  # the standard deviation of normal values by their median absolute deviation
NAMED = 20  # seeds that are named; others are counted

_known: WeakKeyDictionary[StudyData, pd.DataFrame] = WeakKeyDictionary()


def collapsed_seeds(data: StudyData) -> pd.DataFrame:
    """Tell for each cell and seed, as ``by_seed`` has them, whether the seed has collapsed by the objective."""
    if data not in _known:
        _known[data] = are_collapsed(data.info.goal.sign * by_seed(data, data.reported))
    return _known[data]


def are_collapsed(values: pd.DataFrame) -> pd.DataFrame:
    """Tell which values, one row per cell and one column per seed, are of collapsed seeds; more is better.

    A value is if it is below the median of its cell by more than ``FAR`` robust standard deviations: those
    usual in a cell, or with more than ``FEW`` seeds its own if these are larger. Spread is measured by the
    median absolute deviation, which collapsed seeds hardly change (Hampel, "The influence curve and its role
    in robust estimation", JASA 1974).
    """
    away = values.sub(values.median(axis=1), axis=0)
    own = away.abs().median(axis=1)
    seeds = values.notna().sum(axis=1)
    # One seed has no spread, and would make what is usual smaller.
    usual = own[seeds > 1].median()
    spread = MAD_TO_STD * own.where(seeds > FEW, 0).clip(lower=usual)
    return away.lt(-FAR * spread, axis=0) & (usual > 0)


def collapse_in_words(data: StudyData) -> list[str]:
    """Name the collapsed seeds, and say how large their share is; nothing without one."""
    collapsed = collapsed_seeds(data)
    count = int(collapsed.to_numpy().sum())
    if not count:
        return []
    trainings = int(by_seed(data, data.reported).notna().to_numpy().sum())
    # Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika, 1934.
    exact = stats.binomtest(count, trainings).proportion_ci(method="exact")
    share = f"{100 * count / trainings:.1f} % ({100 * exact.low:.1f} to {100 * exact.high:.1f} %, exact 95 % interval)"
    named = []
    for cell in summarise_cells(data).to_dict("records"):
        seeds = collapsed.columns[collapsed.loc[cell["cell_id"]]]
        if len(seeds):
            settings = describe_settings(cell, data.info.roles)
            named.append(f"{settings}: seed {', '.join(map(str, seeds))}")
    more = f"; and {len(named) - NAMED} more cells" if len(named) > NAMED else ""
    return [
        f"{count} of {trainings} trainings have collapsed, {share}: they ended more than {FAR} robust standard "
        f"deviations below the median of their cell. Means and intervals contain them; contrasts are also given "
        f"without them. They are: {'; '.join(named[:NAMED])}{more}."
    ]
