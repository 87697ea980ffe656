"""What a search found: its cells in the order in which they ended, and which of the searched settings mattered."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, interval, percent
from analysis.statistics.cells import by_seed, describe_settings, format_setting, summarise_cells
from analysis.statistics.intervals import CONFIDENCE, Values

if TYPE_CHECKING:  # it is needed for studies with a search alone
    from optuna.distributions import BaseDistribution

FEWEST = 8  # complete cells without which nothing is said of importance


@dataclass(frozen=True)
class TriedCell:
    """A cell of the search that has ended; ``place`` counts from 1 in the order in which they did.

    ``settings`` are those searched. ``accuracy`` is its mean validation accuracy over seeds at its last epoch, a
    fraction, and ``best`` the highest of the complete cells so far, None before the first.
    """

    place: int
    cell_id: str
    settings: Mapping[str, Any]
    accuracy: float
    pruned: bool
    best: float | None

    @property
    def is_best(self) -> bool:
        """Whether no complete cell before it reached as much."""
        return not self.pruned and self.accuracy == self.best


@dataclass(frozen=True)
class Importance:
    """The part of the variance of validation accuracy over the ranges that a setting accounts for by itself.

    A fraction; with the others it adds up to 1. ``low`` and ``high`` are the ends of its 95 % interval, None for one
    seed.
    """

    setting: str
    share: float
    low: float | None
    high: float | None


def distribution(given: Mapping[str, Any]) -> "BaseDistribution":
    """Return the range of a setting, as a grid file gives it, as Optuna's."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in given:
        return CategoricalDistribution(given["choices"])
    low, high, log, step = given["low"], given["high"], given["log"], given.get("step")
    if isinstance(low, int):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


def searched_cells(data: StudyData) -> pd.DataFrame:
    """Return the rows of ``summarise_cells`` whose values are within the ranges of the search."""
    cells = summarise_cells(data)
    for name, given in data.info.ranges.items():
        values = cells[name]
        cells = cells[
            values.isin(given["choices"]) if "choices" in given else values.between(given["low"], given["high"])
        ]
    return cells


def history_data(data: StudyData) -> tuple[TriedCell, ...]:
    """Return the cells of the search that are complete or pruned, in the order in which they ended."""
    cells = searched_cells(data).set_index("cell_id")
    rows = data.trials[data.trials["seed"].isin(data.info.seeds)].groupby("cell_id")
    cells["accuracy"] = rows["val_accuracy"].mean()
    ended = cells[cells["state"].isin(["complete", "pruned"])]
    if "finished_at" in data.trials:
        ended = ended.loc[rows["finished_at"].max().reindex(ended.index).sort_values(kind="stable").index]
    tried: list[TriedCell] = []
    best: float | None = None
    names = list(data.info.ranges)
    for place, (cell_id, cell) in enumerate(ended.iterrows(), 1):
        pruned, accuracy = cell["state"] == "pruned", float(cell["accuracy"])
        if not pruned:
            best = accuracy if best is None else max(best, accuracy)
        settings = {name: cell[name] for name in names}
        tried.append(TriedCell(place, str(cell_id), settings, accuracy, pruned, best))
    return tuple(tried)


def importance_data(data: StudyData) -> tuple[Importance, ...]:
    """Return how much each setting mattered, the most important first; none for fewer than FEWEST complete cells.

    Functional analysis of variance over a random forest (Hutter, Hoos and Leyton-Brown, "An efficient approach for
    assessing hyperparameter importance", ICML 2014), by Optuna, of the cells' mean validation accuracies. Intervals are
    from the jackknife over seeds (Efron and Stein, "The jackknife estimate of variance", Annals of Statistics 1981):
    they say how far other seeds would change it, not other cells.
    """
    cells = searched_cells(data)
    cells = cells[cells["state"] == "complete"]
    if len(cells) < FEWEST:
        return ()
    accuracy = by_seed(data, "val_accuracy").loc[cells["cell_id"]].to_numpy(float)
    whole, n = _shares(data, cells, accuracy.mean(axis=1)), accuracy.shape[1]
    ends: dict[str, tuple[float | None, float | None]] = dict.fromkeys(whole, (None, None))
    if n > 1:
        without = pd.DataFrame([_shares(data, cells, np.delete(accuracy, at, axis=1).mean(axis=1)) for at in range(n)])
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * sqrt(n - 1) * without.std(ddof=0)
        ends = {name: (max(0.0, share - reach[name]), min(1.0, share + reach[name])) for name, share in whole.items()}
    ranked = sorted(whole.items(), key=lambda item: -item[1])
    return tuple(Importance(name, share, *ends[name]) for name, share in ranked)


def _shares(data: StudyData, cells: pd.DataFrame, accuracies: Values) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study that is made
    space = {name: distribution(given) for name, given in data.info.ranges.items()}
    study = optuna.create_study(direction="maximize")
    points = cells[list(space)].to_dict("records")
    study.add_trials(
        optuna.trial.create_trial(params={str(n): v for n, v in point.items()}, distributions=space, value=value)
        for point, value in zip(points, accuracies.tolist(), strict=True)
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(space))
    return {name: float(share) for name, share in found.items()}


def history_sheet(data: StudyData, tried: tuple[TriedCell, ...]) -> Sheet:
    """List the cells in the order in which they ended; people read those that were the best so far."""
    rows = [{k: v for k, v in asdict(cell).items() if k != "settings"} | dict(cell.settings) for cell in tried]
    pruned = sum(cell.pruned for cell in tried)
    return Sheet(
        name="search",
        title="Best cells of the search",
        caption=(
            f"Those of {len(tried)} cells that were the best so far when they ended, by mean validation accuracy in "
            f"percent; {pruned} were pruned and count for none. The CSV has all."
        ),
        columns=(
            Column("cell", lambda row: str(row["place"]), numeric=True),
            *(_setting_column(name) for name in data.info.ranges),
            Column("validation", lambda row: percent(row["accuracy"]), numeric=True),
        ),
        rows=tuple(rows),
        shown=tuple(index for index, cell in enumerate(tried) if cell.is_best),
    )


def _setting_column(name: str) -> Column:
    return Column(name.replace("_", " "), lambda row: format_setting(row[name]), numeric=True)


def importance_sheet(data: StudyData, importances: tuple[Importance, ...]) -> Sheet:
    """List the shares."""
    ranges = data.info.ranges
    rows = [asdict(found) | {"range": _range_in_words(ranges[found.setting])} for found in importances]
    return Sheet(
        name="importance",
        title="Importance of the settings",
        caption=(
            "Percent of the variance of mean validation accuracy over the ranges that a setting accounts for (fANOVA), "
            "with 95 % jackknife intervals over seeds."
        ),
        columns=(
            Column("setting", lambda row: row["setting"].replace("_", " ")),
            Column("searched", lambda row: row["range"]),
            Column("percent of variance", lambda row: percent(row["share"]), numeric=True),
            Column("95 % interval", lambda row: interval(row["low"], row["high"]), numeric=True),
        ),
        rows=tuple(rows),
    )


def _range_in_words(given: Mapping[str, Any]) -> str:
    if "choices" in given:
        return ", ".join(map(format_setting, given["choices"]))
    return f"{given['low']:g} to {given['high']:g}{', logarithmic' if given['log'] else ''}"


def best_in_words(data: StudyData, tried: tuple[TriedCell, ...]) -> str:
    """Say which cell was the best, or that none is complete."""
    best = max((cell for cell in tried if not cell.pruned), key=lambda cell: cell.accuracy, default=None)
    if best is None:
        return "No cell of the search is complete yet."
    return (
        f"Of {len(tried)} cells, number {best.place} has the highest mean validation accuracy, "
        f"{percent(best.accuracy)} %: {describe_settings(best.settings, best.settings)}. It was chosen for that "
        "figure, which therefore flatters it: study confirm trains it again with fresh seeds."
    )
