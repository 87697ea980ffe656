"""What a search found: its cells in the order of their ends, and which settings mattered."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_settings, format_setting, setting_column, summarise_cells
from analysis.statistics.inference import CONFIDENCE, Values

if TYPE_CHECKING:  # only studies with a search need Optuna
    from optuna.distributions import BaseDistribution

FEWEST = 8  # complete cells that an estimate of importance needs
REST = "rest (interactions, noise)"
FANOVA_TREES = 64  # Optuna's default


@dataclass(frozen=True)
class TriedCell:
    """A cell of the search that has ended; ``place`` counts from 1 in the order in which cells ended.

    ``settings`` are those searched. ``mean`` is that of the objective on validation over seeds at
    its last epoch, as stored; ``best`` is the best of the complete cells so far, None before.
    """

    place: int
    cell_id: str
    settings: Mapping[str, Any]
    mean: float
    pruned: bool
    best: float | None

    @property
    def is_best(self) -> bool:
        """Whether the cell is complete and none before it was better."""
        return not self.pruned and self.mean == self.best


@dataclass(frozen=True)
class Importance:
    """How much of the variance of the objective on validation over the ranges a setting explains by itself.

    ``share`` is a fraction of the variance that a random forest finds. The last of a study is the REST, so that
    all shares add up to 1. ``low`` and ``high`` are the ends of its 95 % interval, None for one seed.
    """

    setting: str
    share: float
    low: float | None
    high: float | None


def distribution(given: Mapping[str, Any]) -> "BaseDistribution":
    """Return the range of a setting, as a grid file gives it, as Optuna's."""
    from optuna import distributions

    if "choices" in given:
        return distributions.CategoricalDistribution(given["choices"])
    low, high, log, step = given["low"], given["high"], given["log"], given.get("step")
    # Whole ends make a range of whole numbers.
    if isinstance(low, int):
        return distributions.IntDistribution(low, high, log, step or 1)
    return distributions.FloatDistribution(low, high, log, step)


def searched_cells(data: StudyData) -> pd.DataFrame:
    """Return the rows of ``summarise_cells`` with values within the ranges of the search."""
    cells = summarise_cells(data)
    for name, given in data.info.ranges.items():
        if "choices" in given:
            cells = cells[cells[name].isin(given["choices"])]
        else:
            cells = cells[cells[name].between(given["low"], given["high"])]
    return cells


def history_data(data: StudyData) -> tuple[TriedCell, ...]:
    """Return the cells of the search that are complete or pruned, in the order in which they ended."""
    better = max if data.info.goal.sign > 0 else min
    tried: list[TriedCell] = []
    best: float | None = None
    for place, (cell_id, cell) in enumerate(_ended_cells(data).iterrows(), 1):
        pruned = cell["state"] == "pruned"
        mean = float(cell["searched_mean"])
        # A pruned cell's mean is that of an early epoch, so it cannot be the best.
        if not pruned:
            best = mean if best is None else better(best, mean)
        settings = {name: cell[name] for name in data.info.ranges}
        tried.append(TriedCell(place, str(cell_id), settings, mean, pruned, best))
    return tuple(tried)


def _ended_cells(data: StudyData) -> pd.DataFrame:
    """Return the complete and pruned cells by id with their ``searched_mean``, in the order of their end."""
    cells = searched_cells(data).set_index("cell_id")
    rows = data.trials[data.trials["seed"].isin(data.info.seeds)].groupby("cell_id")
    cells["searched_mean"] = rows[data.selection].mean()
    ended = cells[cells["state"].isin(["complete", "pruned"]) & cells["searched_mean"].notna()]
    if "finished_at" not in data.trials:
        return ended
    # A cell has ended when its last seed has.
    ends = rows["finished_at"].max().reindex(ended.index).sort_values(kind="stable")
    return ended.loc[ends.index]


@dataclass(frozen=True)
class Importances:
    """The importance of each setting, the most important first, then of the REST; or ``why`` there is none.

    ``fit`` is the part of the variance of cells' means that the forest explains in cells that it was not fitted on.
    """

    found: tuple[Importance, ...]
    fit: float
    why: str


def importance_data(data: StudyData) -> Importances:
    """Return how much each setting mattered; none for fewer than FEWEST complete cells, or if nothing is explained.

    Functional analysis of variance over a random forest (Hutter, Hoos and Leyton-Brown, "An
    efficient approach for assessing hyperparameter importance", ICML 2014), by Optuna, of
    the cells' mean objectives on validation, not normalised. Intervals are from the jackknife over seeds
    (Efron and Stein, "The jackknife estimate of variance", Annals of Statistics 1981): they
    say how much other seeds would change it, not other cells.
    """
    cells = searched_cells(data)
    cells = cells[cells["state"] == "complete"]
    if len(cells) < FEWEST:
        return Importances((), 0.0, f"fewer than {FEWEST} cells are complete")
    values = by_seed(data, data.selection).loc[cells["cell_id"]].to_numpy(float)
    fit = _fit_out_of_bag(data, cells, values.mean(axis=1))
    if not fit > 0:
        return Importances((), fit, "the settings explain nothing of cells that the forest was not fitted on")
    shares = _shares(data, cells, values.mean(axis=1))
    reach = _jackknife_reach(data, cells, values)
    found = []
    for name in (*sorted(shares.keys() - {REST}, key=lambda name: -shares[name]), REST):
        low, high = None, None
        if reach is not None:
            low = max(0.0, shares[name] - reach[name])
            high = min(1.0, shares[name] + reach[name])
        found.append(Importance(name, shares[name], low, high))
    return Importances(tuple(found), fit, "")


def _fit_out_of_bag(data: StudyData, cells: pd.DataFrame, means: Values) -> float:
    """Return R squared of a forest as Optuna's, each cell predicted by the trees that were fitted without it."""
    from sklearn.ensemble import RandomForestRegressor

    if np.ptp(means) == 0:
        return 0.0
    choices = [name for name, given in data.info.ranges.items() if "choices" in given]
    settings = pd.get_dummies(cells[list(data.info.ranges)].astype(dict.fromkeys(choices, str)), columns=choices)
    forest = RandomForestRegressor(FANOVA_TREES, max_depth=64, oob_score=True, random_state=0)
    return float(forest.fit(settings.to_numpy(float), means).oob_score_)


def _jackknife_reach(data: StudyData, cells: pd.DataFrame, values: Values) -> "pd.Series[float] | None":
    """Return half the width of each setting's interval from ``values`` ``[cells, seeds]``; None for one seed.

    The jackknife's standard error is the spread (ddof=0) of the shares that leave one seed
    out, times the square root of n - 1.
    """
    n = values.shape[1]
    if n < 2:
        return None
    shares = []
    for left_out in range(n):
        shares.append(_shares(data, cells, np.delete(values, left_out, axis=1).mean(axis=1)))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    return quantile * sqrt(n - 1) * pd.DataFrame(shares).std(ddof=0)


def _shares(data: StudyData, cells: pd.DataFrame, means: Values) -> dict[str, float]:
    """Return each setting's share of the variance of the cells' ``means`` ``[cells]``, and that of the REST."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise it prints every study that is made
    space = {name: distribution(given) for name, given in data.info.ranges.items()}
    study = optuna.create_study()  # that less is better, as by default, makes no difference to a variance
    # Optuna learns from trials of its own, so each cell becomes one.
    for point, value in zip(cells[list(space)].to_dict("records"), means.tolist(), strict=True):
        params = dict(zip(space, point.values(), strict=True))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    # The evaluator itself does not normalise, as get_param_importances would: a study of noise has no 100 %.
    shares = optuna.importance.FanovaImportanceEvaluator(n_trees=FANOVA_TREES, seed=0).evaluate(study, list(space))
    found = {name: float(share) for name, share in shares.items()}
    return found | {REST: max(0.0, 1 - sum(found.values()))}


def history_sheet(data: StudyData, tried: tuple[TriedCell, ...]) -> Sheet:
    """List the cells in the order in which they ended; people read those that were the best so far."""
    goal = data.info.goal
    rows = []
    for cell in tried:
        row = asdict(cell)
        settings = row.pop("settings")
        # The mean is named by its metric.
        named = {goal.name if name == "mean" else name: value for name, value in row.items()}
        rows.append(named | settings)
    pruned = sum(cell.pruned for cell in tried)
    caption = (
        f"Of {len(tried)} cells, those with the {goal.best_mean()} so far when they ended. "
        f"{pruned} cells were pruned and cannot be the best. The CSV has all cells."
    )
    columns = (
        Column("cell", lambda row: str(row["place"]), numeric=True),
        *map(partial(setting_column, numeric=True), data.info.ranges),
        Column(goal.heading("val"), lambda row: goal.number(row[goal.name]), numeric=True),
    )
    listed = tuple(place for place, cell in enumerate(tried) if cell.is_best)
    return Sheet("search", "Best cells of the search", caption, columns, tuple(rows), listed=listed)


def importance_sheet(data: StudyData, importances: Importances) -> Sheet:
    """List the settings with their importance."""
    ranges = data.info.ranges
    rows = []
    for found in importances.found:
        words = _range_in_words(ranges[found.setting]) if found.setting in ranges else ""
        rows.append(asdict(found) | {"range": words})
    caption = (
        f"The part of the variance of mean {data.info.goal.in_words('val')} over the ranges that each setting accounts "
        "for by itself (fANOVA), in percent, with 95 % jackknife intervals over seeds. The rest is interactions, and "
        f"noise that the forest has fitted. Of cells that it was not fitted on (out of bag), the forest explains "
        f"{percent(importances.fit)} % of the variance."
    )
    columns = (
        Column("setting", lambda row: row["setting"].replace("_", " ")),
        Column("searched", lambda row: row["range"]),
        Column("percent of variance", lambda row: percent(row["share"]), numeric=True),
        Column("95 % interval", lambda row: interval(row["low"], row["high"]), numeric=True),
    )
    return Sheet("importance", "Importance of the settings", caption, columns, tuple(rows))


def _range_in_words(given: Mapping[str, Any]) -> str:
    if "choices" in given:
        return ", ".join(map(format_setting, given["choices"]))
    scale = ", logarithmic" if given["log"] else ""
    return f"{given['low']:g} to {given['high']:g}{scale}"


def best_in_words(data: StudyData, tried: tuple[TriedCell, ...]) -> str:
    """Say which cell was the best, or that none is complete."""
    goal = data.info.goal
    best = max((cell for cell in tried if not cell.pruned), key=lambda cell: goal.sign * cell.mean, default=None)
    if best is None:
        return "No cell of the search is complete yet."
    return (
        f"Of {len(tried)} cells, number {best.place} has the {goal.best_mean()}, "
        f"{goal.format(best.mean)}: {describe_settings(best.settings, best.settings)}. It was chosen for this "
        f"{goal.label}, so the figure is partly luck: study confirm trains the cell again with fresh seeds."
    )
