from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.course_report.draw import ACCURACY, GAIN
from analysis.course_report.verdicts import MARGIN, WEIGHTS, Finding, findings_data, judge
from analysis.statistics.inference import Measure
from tests.analysis.conftest import StoreBuilder
from tests.analysis.course_report.conftest import STD, around


def findings(store: StoreBuilder) -> dict[str, Finding]:
    return {finding.claim.key: finding for finding in findings_data(store.load())}


def reach_of(parts: Sequence[tuple[float, float]], confidence: float = 0.95) -> float:
    """Half the interval of a sum of variances, each with its degrees of freedom (Welch and Satterthwaite)."""
    total = sum(variance for variance, _ in parts)
    df = total**2 / sum(variance**2 / df for variance, df in parts)
    return float(stats.t.ppf((1 + confidence) / 2, df) * sqrt(total))


def one_draw(accuracy: float) -> tuple[float, float]:
    variance = ACCURACY.variance + accuracy * (1 - accuracy) / 1000
    return variance, 2 * (variance / ACCURACY.error) ** 2


def test_an_accuracy_is_held_against_the_report_by_welch_with_the_reports_draw(ten: StoreBuilder) -> None:
    ten.cell(around(0.81), data="mnist")
    found = findings(ten)["auxiliary off, sharing off"]  # reported 80.7 ± 1.1 over 10
    reach = reach_of([((STD * 0.01) ** 2 / 10, 9), (0.011**2 / 10, 9), one_draw(0.807)])
    assert found.difference is not None
    assert found.difference.ends == pytest.approx((0.003 - reach, 0.003 + reach))
    assert found.known_to == pytest.approx(reach)
    assert found.claim.reported == pytest.approx(0.807)
    assert found.measured is not None
    assert (found.measured.n, found.measured.mean, found.measured.std) == pytest.approx((10, 0.81, STD * 0.01))


def test_a_part_of_mnist_is_one_draw_more(ten: StoreBuilder) -> None:
    ten.cell(around(0.81), data="mnist5k")
    variance, df = one_draw(0.807)
    reach = reach_of([((STD * 0.01) ** 2 / 10, 9), (0.011**2 / 10, 9), (1.4 * variance, df)])
    assert findings(ten)["auxiliary off, sharing off"].known_to == pytest.approx(reach)


@pytest.mark.parametrize(("mean", "note"), [(0.86, "5.3 points more"), (0.75, "5.7 points less")])
def test_an_accuracy_that_differs_is_contradicted(ten: StoreBuilder, mean: float, note: str) -> None:
    ten.cell(around(mean))
    found = findings(ten)["auxiliary off, sharing off"]
    assert (found.verdict, found.note) == ("contradicted", f"{note} than reported")
    assert found.verdict_in_words == "contradicted"


@pytest.mark.parametrize(
    ("mean", "se", "verdict"),
    [
        (0.010, 0.010, "agrees"),  # with 10 degrees of freedom: 1.0 ± 1.8 at 90 %, 1.0 ± 2.2 at 95 %
        (0.013, 0.010, "compatible"),  # 1.3 + 1.8 is beyond 3
        (0.024, 0.010, "contradicted"),
        (-0.001, 0.017, "compatible"),
        (0.010, 0.004, "contradicted"),  # within the margin, and yet not zero
    ],
)
def test_the_rule(mean: float, se: float, verdict: str) -> None:
    assert MARGIN == 0.03
    assert judge(Measure(mean, se, 10)) == verdict


def test_a_figure_without_spread_is_held_against_a_single_training(ten: StoreBuilder) -> None:
    ten.cell(around(0.940, 0.002), model="classifier", sharing=True, data="mnist")
    found = findings(ten)["classifier, digits"]
    reach = stats.t.ppf(0.975, 9) * 0.002 * STD * sqrt(1.1)
    assert found.difference is not None
    assert found.difference.ends == pytest.approx((-0.015 - reach, -0.015 + reach))
    assert found.verdict == "contradicted"
    assert found.note == "1.5 points less than reported; the report gives no spread"


def gain_of(store: StoreBuilder, gains: Sequence[float], **settings: Any) -> Finding:
    base = around(0.80, 0.03)  # a spread that pairing takes out
    store.cell(base, data="mnist")
    store.cell([b + g for b, g in zip(base, gains, strict=True)], sharing=True, data="mnist", **settings)
    return findings(store)["sharing alone"]


def test_a_gain_is_measured_in_pairs(ten: StoreBuilder) -> None:
    found = gain_of(ten, around(0.03, 0.005))
    assert found.measured is not None
    assert (found.measured.mean, found.measured.std) == pytest.approx((0.03, 0.005 * STD))
    # The report's spreads are 0.6 and 1.1.
    spreads = [((0.005 * STD) ** 2 / 10, 9), (0.006**2 / 10, 9), (0.011**2 / 10, 9)]
    reach = reach_of([*spreads, (GAIN.variance, 2 * (GAIN.variance / GAIN.error) ** 2)])
    assert found.difference is not None
    assert found.difference.ends == pytest.approx((0.03 - 0.032 - reach, 0.03 - 0.032 + reach))
    assert found.confounded_with == ()


@pytest.mark.parametrize(
    ("gains", "verdict", "note"),
    [
        (around(0.10, 0.005), "contradicted", "6.8 points more than reported"),
        (around(-0.04, 0.005), "contradicted", "7.2 points less than reported"),
        (around(0.02, 0.04), "compatible", "its own interval does not lie above zero"),
    ],
)
def test_a_gain_needs_direction_and_size(ten: StoreBuilder, gains: list[float], verdict: str, note: str) -> None:
    found = gain_of(ten, gains)
    assert (found.verdict, found.note) == (verdict, note)


def test_eleven_points_are_not_agreed_with_by_four(ten: StoreBuilder) -> None:
    ten.cell(around(0.86), sharing=True, aux_weight=10)
    ten.cell(around(0.90), sharing=True, model="classifier")
    found = findings(ten)["classifier over comparator"]  # reported +11
    assert found.measured is not None
    assert found.measured.mean == pytest.approx(0.04)
    assert (found.verdict, found.confounded_with) == ("contradicted", ())


def with_dropout(store: StoreBuilder, **settings: Any) -> Finding:
    store.cell(around(0.86), sharing=True, aux_weight=10, data="mnist")
    store.cell(around(0.91), data="mnist", sharing=True, aux_weight=1, dropout=0.5, **settings)
    return findings(store)["dropout"]


def test_a_gain_whose_cells_differ_otherwise_too_is_confounded(ten: StoreBuilder) -> None:
    found = with_dropout(ten, learning_rate=0.01)
    assert found.confounded_with == ("learning_rate",)
    assert found.verdict_in_words == "agrees within 3 points, but confounded with learning rate"


def test_dropout_at_the_same_rate_is_not_confounded(ten: StoreBuilder) -> None:
    found = with_dropout(ten)
    assert found.confounded_with == ()
    assert found.verdict_in_words == "agrees within 3 points"


@pytest.mark.parametrize(
    ("mean", "unit", "verdict"),
    [(0.89, 0.005, "agrees"), (0.80, 0.005, "contradicted"), (0.851, 0.01, "compatible")],
)
def test_the_goal_is_reached_when_the_interval_is_above_it(
    ten: StoreBuilder, mean: float, unit: float, verdict: str
) -> None:
    ten.cell(around(mean, unit), sharing=True, aux_weight=10)
    assert findings(ten)["goal"].verdict == verdict


def weights(store: StoreBuilder, means: Mapping[float, float]) -> Finding:
    """A study of the report's eight weights, those not given at 0.70; each cell's seeds have their own spread."""
    for index, weight in enumerate(WEIGHTS):
        spread = np.random.default_rng(index).permutation(around(0))
        store.cell((means.get(weight, 0.70) + spread).tolist(), sharing=True, aux_weight=weight)
    return findings(store)["best weight without dropout"]


@pytest.mark.parametrize(
    ("means", "verdict", "kept"),
    [
        ({10: 0.86}, "agrees", "10"),
        ({10: 0.83, 100: 0.86}, "contradicted", "100"),
        ({3: 0.860, 10: 0.862, 1: 0.855}, "compatible", "1, 3, 10"),
    ],
)
def test_the_weights_that_may_be_the_best(
    ten: StoreBuilder, means: dict[float, float], verdict: str, kept: str
) -> None:
    found = weights(ten, means)
    assert (found.verdict, found.note) == (verdict, f"not worse than the best: {kept}")


def test_no_weight_is_the_best_while_its_rivals_are_not_complete(ten: StoreBuilder) -> None:
    ten.cell(around(0.86), sharing=True, aux_weight=10)
    ten.cell(around(0.70), sharing=True, aux_weight=0)
    ten.part(ten.plan(sharing=True, aux_weight=100), [0.5] * 10, status="pruned", epochs=20)
    found = findings(ten)["best weight without dropout"]
    assert (found.verdict, found.note) == ("not measured", "not complete: 0.1, 0.5, 1, 3, 100, 1000")


def test_what_is_not_complete_is_not_measured(ten: StoreBuilder) -> None:
    ten.cell(around(0.81))
    ten.part(ten.plan(sharing=True), [0.5] * 10, status="pruned", epochs=20)
    found = findings(ten)
    assert (found["sharing alone"].verdict, found["sharing alone"].note) == ("not measured", "pruned at epoch 20")
    assert found["classifier, pairs"].note == "not in this study"
    assert found["sharing alone"].verdict_in_words == "not measured"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"max_epochs": 3}, "max epochs 3 instead of 80"),
        ({"fixed_data": True, "validation_share": 0.1}, "validation share 0.1 instead of 0.2, fixed data True instead"),
    ],
)
def test_a_cell_trained_otherwise_gets_no_verdict(ten: StoreBuilder, settings: dict[str, Any], why: str) -> None:
    ten.cell(around(0.807), **settings)
    found = findings(ten)["auxiliary off, sharing off"]
    assert found.verdict == "not measured"
    assert found.note.startswith(f"trained otherwise: {why}")
    # Beside a cell that was trained as in the report, it does not compete, however good it is.
    ten.cell(around(0.700))
    found = findings(ten)["auxiliary off, sharing off"]
    assert found.measured is not None
    assert found.measured.mean == pytest.approx(0.7)


def test_one_seed_decides_nothing(new_store: Callable[..., StoreBuilder]) -> None:
    store = new_store(seeds=1)
    store.cell([0.81])
    store.cell([0.84], sharing=True)
    store.cell([0.86], sharing=True, aux_weight=10)
    found = findings(store)
    for key in ("auxiliary off, sharing off", "sharing alone", "goal"):
        assert (found[key].verdict, found[key].note) == ("undecided", "one seed has no spread")
