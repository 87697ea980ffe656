"""The error rates of the verdicts on the course report's claims, and what one draw of its pairs adds.

    python -m benchmarks.verdicts                   # the error rates, a table of docs/statistics.md; a minute
    study run --grid protocol --data mnist --seeds 40
    python -m benchmarks.verdicts protocol-mnist    # the draw too, as in analysis/course_report/draw.py

A simulated report draws its pairs once, for all of its ten rounds; a simulated study draws them for each seed. The
draw's variance is estimated again in each simulation, with the error of the real estimate.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations, product
from math import sqrt
from typing import Annotated

import numpy as np
import typer

from analysis.course_report.draw import ACCURACY, GAIN, Draw
from analysis.course_report.reported import PROTOCOL, ROUNDS
from analysis.course_report.verdicts import AGREES, COMPATIBLE, CONTRADICTED, judge
from analysis.load import StudyData, load_study
from analysis.statistics.cells import by_seed, summarise_cells
from analysis.statistics.inference import Measure, Values

OFFS = (0.0, 0.01, 0.02, 0.03)
SEEDS = (10, 20, 40)
SMALLEST = 1e-7  # variance
TYPICAL = 0.87  # an accuracy of Table I


@dataclass(frozen=True)
class Truth:
    """What is simulated: standard deviations of a study's seeds, of a report's rounds, and the draw.

    ``gain`` is whether the figure is a paired difference; ``rounds`` is that of the report's figure.
    """

    kind: str
    seeds: float
    rounds: float
    draw: Draw
    sampling: float = 0.0


# Of grid protocol on MNIST: an accuracy over seeds that redraw (1.4) and seeds that share a draw (0.9); a gain too. The
# report's gain is a difference of two means that are not paired.
TRUTHS = (
    Truth("accuracy", 0.0138, 0.009, ACCURACY, TYPICAL * (1 - TYPICAL) / PROTOCOL["test_pairs"]),
    Truth("gain", 0.0131, 0.0127, GAIN),
)


def verdicts_of(truth: Truth, off: float, n: int, studies: int, rng: np.random.Generator) -> dict[str, Counter[str]]:
    """Count the verdicts on a claim that is ``off`` by so much, with the draw in the interval and without."""
    one = truth.draw.times(1, truth.sampling)
    counts: dict[str, Counter[str]] = {"with": Counter(), "without": Counter()}
    for _ in range(studies):
        mine = Measure(rng.normal(0, truth.seeds / sqrt(n)), _spread(truth.seeds, n - 1, rng) / sqrt(n), n - 1)
        # The report's mean has its draw in it, its spread has not.
        mean = off + rng.normal(0, one.se) + rng.normal(0, truth.rounds / sqrt(ROUNDS))
        reported = Measure(mean, _spread(truth.rounds, ROUNDS - 1, rng) / sqrt(ROUNDS), ROUNDS - 1)
        without = mine - reported
        counts["without"][judge(without)] += 1
        # As a difference of two variances, an estimate may be next to nothing; its interval is then endless.
        estimated = max(truth.draw.variance + rng.normal(0, truth.draw.error), SMALLEST - truth.sampling)
        draw = Draw(estimated, truth.draw.error)
        counts["with"][judge(without - draw.times(1, truth.sampling))] += 1
    return counts


def _spread(std: float, df: float, rng: np.random.Generator) -> float:
    """Estimate a standard deviation from normal values with ``df`` degrees of freedom."""
    return float(std * sqrt(rng.chisquare(df) / df))


def error_rates(studies: int, rng: np.random.Generator) -> str:
    """Return the table: percent contradicted / agrees / compatible."""
    lines = ["| claim | off by | n | the draw in the interval | without it |", "|---|---|---|---|---|"]
    for truth, off, n in product(TRUTHS, OFFS, SEEDS):
        counts = verdicts_of(truth, off, n, studies, rng)
        texts = []
        for found in counts.values():
            shares = [100 * found[verdict] / studies for verdict in (CONTRADICTED, AGREES, COMPATIBLE)]
            texts.append(" / ".join(f"{share:.1f}" for share in shares))
        lines.append(f"| {truth.kind} | {100 * off:g} | {n} | {' | '.join(texts)} |")
    return "\n".join(lines)


def draw_of(data: StudyData) -> dict[str, tuple[Draw, Values, Values]]:
    """Estimate what one draw of the pairs adds to an accuracy, beyond the binomial share, and to a gain.

    With each: the variance over seeds that redraw and over seeds that share a draw, each with its degrees of freedom.
    """
    cells = summarise_cells(data)
    if "validation_share" in cells:
        cells = cells[cells["validation_share"] == PROTOCOL["validation_share"]]
    values = by_seed(data, "test_accuracy")
    by_draw = []
    for fixed in (False, True):
        chosen = cells[cells["fixed_data"] == fixed].sort_values(["sharing", "aux_weight"])
        by_draw.append(values.loc[chosen["cell_id"]].to_numpy(float))
    redrawn, shared = by_draw
    means = redrawn.mean(axis=1)
    sampling = float((means * (1 - means)).mean() / PROTOCOL["test_pairs"])
    return {
        "accuracy": _difference(redrawn, shared, sampling),
        "gain": _difference(_pairs(redrawn), _pairs(shared), 0.0),
    }


def _pairs(values: Values) -> Values:
    """Return the differences of all pairs of rows ``[pairs, seeds]``."""
    return np.array([first - second for first, second in combinations(values, 2)])


def _variance(values: Values) -> Values:
    """Return the mean variance of rows ``[k, n]`` that share their seeds, and Satterthwaite's degrees of freedom."""
    covariances = np.cov(values)
    mean = covariances.diagonal().mean()
    return np.array([mean, (values.shape[1] - 1) * mean**2 / (covariances**2).mean()])


def _difference(redrawn: Values, shared: Values, sampling: float) -> tuple[Draw, Values, Values]:
    first, second = _variance(redrawn), _variance(shared)
    error = sqrt(2 * first[0] ** 2 / first[1] + 2 * second[0] ** 2 / second[1])
    return Draw(float(first[0] - second[0]) - sampling, error), first, second


def main(
    name: Annotated[str, typer.Argument(help="A study of grid protocol, to measure the draw.")] = "",
    storage: str = "studies",
    studies: Annotated[int, typer.Option(help="How many studies are simulated for each line.")] = 10_000,
) -> None:
    """Print the error rates of the verdicts, and the draw as the study NAME has it."""
    if name:
        for kind, (draw, redrawn, shared) in draw_of(load_study(storage, name)).items():
            std = 100 * sqrt(max(0.0, redrawn[0] - shared[0]))
            print(f"{kind}: redrawn {100 * sqrt(redrawn[0]):.2f} points (df {redrawn[1]:.0f}), shared ", end="")
            print(f"{100 * sqrt(shared[0]):.2f} (df {shared[1]:.0f}), so one draw {std:.2f};", draw)
    print(error_rates(studies, np.random.default_rng(0)))


if __name__ == "__main__":
    typer.run(main)
