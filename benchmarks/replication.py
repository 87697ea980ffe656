"""How often decisions at planned looks are wrong, and what they cost: by simulation, and resampled from real stores.

    python -m benchmarks.replication                                  # simulated families of five contrasts
    python -m benchmarks.replication --store studies/table1           # real differences of pairs of its cells

A family has five contrasts of six cells: each cell against the first. Rules are compared on the same values.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy import special

from analysis.load import load_study, no_cell
from analysis.statistics.cells import by_seed
from analysis.statistics.inference import holm
from analysis.statistics.looks import DECIDED, Decision, Replication, Values, decide

PLAN = Replication((10, 20, 40, 80), margin=1.0)
SEED_STD, RESIDUAL_STD = 0.6, 1.08  # points; measured on MNIST
EFFECTS = {
    "as the report's": (3.2, 4.4, 5.3, 5.0, 9.0),
    "mixed": (0.0, 0.3, 0.8, 1.5, 3.0),
    "all zero": (0.0, 0.0, 0.0, 0.0, 0.0),
}
Rule = Callable[[list[Values]], list[Decision]]


def naive(differences: list[Values]) -> list[Decision]:
    """Holm at each look with fixed-n p values and 95 % intervals, as people do without a plan."""
    found = [Decision("waiting", 0, np.nan, np.nan, np.nan, 1, 1, None)] * len(differences)
    for look in PLAN.looks:
        going_on = [place for place, decision in enumerate(found) if decision.verdict not in DECIDED]
        for place in going_on:
            own = differences[place][:look]
            error = own.std(ddof=1) / look**0.5
            p = 2 * special.stdtr(look - 1, -abs(own.mean()) / error)
            reach = -special.stdtrit(look - 1, 0.025) * error
            found[place] = Decision("undecided", look, own.mean(), own.mean() - reach, own.mean() + reach, p, 1, None)
        for place, p_holm in enumerate(holm([decision.p for decision in found])):
            decision = found[place]
            if place in going_on and p_holm < PLAN.alpha:
                found[place] = replace(decision, verdict="differs")
            elif place in going_on and max(-decision.low, decision.high) < PLAN.margin:
                found[place] = replace(decision, verdict="within")
    return found


def planned(differences: list[Values]) -> list[Decision]:
    """The rule of the program."""
    return decide(differences, PLAN)


@dataclass
class Tally:
    """What a rule did in many studies."""

    studies: int = 0
    trainings: int = 0
    decided: int = 0
    whole: int = 0
    wrong: int = 0
    covered: int = 0

    def add(self, decisions: list[Decision], effects: tuple[float, ...]) -> None:
        self.studies += 1
        self.trainings += max(decision.n for decision in decisions) + sum(decision.n for decision in decisions)
        known = [decision.verdict in DECIDED for decision in decisions]
        self.decided += sum(known)
        self.whole += all(known)
        pairs = list(zip(decisions, effects, strict=True))
        self.wrong += any(is_wrong(decision, effect) for decision, effect in pairs)
        self.covered += sum(decision.low <= effect <= decision.high for decision, effect in pairs)

    def row(self, contrasts: int) -> list[str]:
        shares = (self.decided / contrasts, self.whole, self.wrong, self.covered / contrasts)
        return [f"{self.trainings / self.studies:.0f}", *(f"{100 * share / self.studies:.1f} %" for share in shares)]


def is_wrong(decision: Decision, effect: float) -> bool:
    """A difference where there is none or in the other direction, or none where it is above the margin."""
    differs = decision.verdict == "differs" and decision.mean * effect <= 0
    return differs or (decision.verdict == "within" and abs(effect) > PLAN.margin)


def simulated(rng: np.random.Generator, effects: tuple[float, ...]) -> list[Values]:
    """Paired differences in points, with a part of each seed that all cells share."""
    shared = rng.normal(0, SEED_STD, PLAN.looks[-1])
    cells = shared + rng.normal(0, RESIDUAL_STD, (len(effects) + 1, PLAN.looks[-1]))
    return [cell - cells[0] + effect for cell, effect in zip(cells[1:], effects, strict=True)]


def family_table(studies: int) -> Table:
    columns = ("effects", "rule", "trainings", "decided", "all five", "wrong anywhere", "intervals that cover")
    table = Table(*columns, box=None, title=f"{studies} families of five contrasts, looks at {PLAN.looks}")
    rules: dict[str, Rule] = {"planned looks": planned, "naive Holm": naive}
    for name, effects in EFFECTS.items():
        rng = np.random.default_rng(1)
        tallies = {rule: Tally() for rule in rules}
        for _ in range(studies):
            differences = simulated(rng, effects)
            for rule, of in rules.items():
                tallies[rule].add(of(differences), effects)
        for rule, tally in tallies.items():
            table.add_row(name, rule, *tally.row(len(effects)))
    return table


def residuals_of(store: Path) -> list[Values]:
    """The paired differences of all pairs of complete cells, in points, less their mean."""
    data = load_study(str(store.parent), store.name, no_cell)
    values = data.info.goal.scale * by_seed(data, data.reported).dropna().to_numpy(float)
    found = []
    for one, other in combinations(values, 2):
        differences = one - other
        # What is left of n values after their mean has a share (n - 1) / n of the variance.
        found.append((differences - differences.mean()) * (len(differences) / (len(differences) - 1)) ** 0.5)
    return [residuals for residuals in found if residuals.std() > 0]


def resampled_table(store: Path, studies: int) -> Table:
    residuals = residuals_of(store)
    title = f"{studies} studies of one contrast, resampled from {len(residuals)} pairs of cells of {store.name}"
    table = Table("effect", "rule", "seeds", "decided", "wrong", "intervals that cover", box=None, title=title)
    for effect in (0.0, 1.0, 2.0):
        rng = np.random.default_rng(1)
        tallies = {planned: Tally(), naive: Tally()}
        for _ in range(studies):
            own = rng.choice(residuals[rng.integers(len(residuals))], PLAN.looks[-1]) + effect
            for rule, tally in tallies.items():
                tally.add(rule([own]), (effect,))
        for rule, tally in tallies.items():
            trainings, decided, _, wrong, covered = tally.row(1)
            table.add_row(f"{effect:g}", rule.__name__, f"{float(trainings) / 2:.0f}", decided, wrong, covered)
    return table


def main(
    studies: int = 20_000,
    store: Annotated[Path | None, typer.Option(help="The folder of a study whose differences are resampled.")] = None,
) -> None:
    """Print error rates, trainings and coverage of the rule and of naive looking."""
    Console(width=140).print(family_table(studies) if store is None else resampled_table(store, studies))


if __name__ == "__main__":
    typer.run(main)
