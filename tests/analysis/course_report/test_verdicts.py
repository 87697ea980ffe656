from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.course_report.verdicts import Finding, findings_data
from tests.analysis.conftest import StoreBuilder
from tests.analysis.course_report.conftest import STD, around


def findings(store: StoreBuilder) -> dict[str, Finding]:
    return {finding.claim.key: finding for finding in findings_data(store.load())}


def plain(store: StoreBuilder, test: Sequence[float], **settings: Any) -> None:
    store.cell(test, **settings)


def test_an_accuracy_is_held_against_the_report_by_welch(ten: StoreBuilder) -> None:
    ten.cell(around(0.81))
    found = findings(ten)["auxiliary off, sharing off"]  # reported 80.7 ± 1.1 over 10
    a, b = (STD * 0.01) ** 2 / 10, 0.011**2 / 10
    reach = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 9 + b**2 / 9)) * sqrt(a + b)
    assert (found.low, found.high) == pytest.approx((0.003 - reach, 0.003 + reach))
    assert (found.verdict, found.note) == ("reproduced", "")
    assert (found.claim.reported, found.claim.reported_std, found.claim.reported_n) == pytest.approx((0.807, 0.011, 10))
    assert found.measured is not None
    assert (found.measured.n, found.measured.mean, found.measured.std) == pytest.approx((10, 0.81, STD * 0.01))


@pytest.mark.parametrize(("mean", "note"), [(0.83, "2.3 points higher"), (0.78, "2.7 points lower")])
def test_an_accuracy_that_differs_is_not_reproduced(ten: StoreBuilder, mean: float, note: str) -> None:
    ten.cell(around(mean))
    found = findings(ten)["auxiliary off, sharing off"]
    assert (found.verdict, found.note) == ("not reproduced", f"{note} than reported")


def test_a_spread_too_wide_to_tell_is_undecided(ten: StoreBuilder) -> None:
    ten.cell(around(0.82, unit=0.05))
    found = findings(ten)["auxiliary off, sharing off"]
    assert (found.verdict, found.note) == ("undecided", "known no better than to 3.8 points")  # 2.262 * 5.27 / sqrt(10)


@pytest.mark.parametrize(
    ("digits", "verdict"), [(around(0.950, 0.002), "reproduced"), (around(0.940, 0.002), "not reproduced")]
)
def test_a_figure_without_spread_is_held_against_a_single_training(
    ten: StoreBuilder, digits: list[float], verdict: str
) -> None:
    ten.cell(digits, model="classifier", sharing=True)  # the builder gives all accuracies the same values
    found = findings(ten)["classifier, digits"]
    reach = stats.t.ppf(0.975, 9) * 0.002 * STD * sqrt(1.1)
    middle = np.mean(digits) - 0.955
    assert (found.low, found.high) == pytest.approx((middle - reach, middle + reach))
    assert found.verdict == verdict
    assert found.note.endswith("the report gives no spread")


def gain_of(store: StoreBuilder, gains: Sequence[float], **settings: Any) -> Finding:
    base = around(0.80, 0.03)  # a spread that pairing takes out
    store.cell(base)
    store.cell([b + g for b, g in zip(base, gains, strict=True)], sharing=True, **settings)
    return findings(store)["sharing alone"]


def test_a_gain_is_measured_in_pairs(ten: StoreBuilder) -> None:
    found = gain_of(ten, around(0.03, 0.005))
    assert found.measured is not None
    assert (found.measured.mean, found.measured.std) == pytest.approx((0.03, 0.005 * STD))
    a, b, c = (0.005 * STD) ** 2 / 10, 0.006**2 / 10, 0.011**2 / 10  # the report's spreads: 0.6 and 1.1
    df_reported = (b + c) ** 2 / (b**2 / 9 + c**2 / 9)
    df = (a + b + c) ** 2 / (a**2 / 9 + (b + c) ** 2 / df_reported)
    reach = stats.t.ppf(0.975, df) * sqrt(a + b + c)
    assert (found.low, found.high) == pytest.approx((0.03 - 0.032 - reach, 0.03 - 0.032 + reach))
    assert (found.verdict, found.confounded_with) == ("reproduced", ())


@pytest.mark.parametrize(
    ("gains", "verdict", "note"),
    [
        (around(0.06, 0.005), "not reproduced", "2.8 points more than reported"),
        (around(0.005, 0.005), "not reproduced", "2.7 points less than reported"),
        (around(-0.02, 0.005), "not reproduced", "a loss instead of a gain"),
        (around(0.02, 0.04), "undecided", "the gain's interval contains zero"),
    ],
)
def test_a_gain_needs_direction_and_size(ten: StoreBuilder, gains: list[float], verdict: str, note: str) -> None:
    found = gain_of(ten, gains)
    assert (found.verdict, found.note) == (verdict, note)


def test_a_gain_without_a_reported_spread_needs_direction_alone(ten: StoreBuilder) -> None:
    ten.cell(around(0.86), sharing=True, aux_weight=10)
    ten.cell(around(0.90), sharing=True, model="classifier")
    found = findings(ten)["classifier over comparator"]  # reported +11
    assert found.measured is not None
    assert found.measured.mean == pytest.approx(0.04)
    assert (found.verdict, found.confounded_with) == ("reproduced", ())


def with_dropout(store: StoreBuilder, **settings: Any) -> Finding:
    store.cell(around(0.86), sharing=True, aux_weight=10)
    store.cell(around(0.91), sharing=True, aux_weight=1, dropout=0.5, **settings)
    return findings(store)["dropout"]


def test_a_gain_whose_cells_differ_otherwise_too_is_confounded(ten: StoreBuilder) -> None:
    found = with_dropout(ten, learning_rate=0.01)
    assert found.confounded_with == ("learning_rate",)
    assert found.verdict_in_words == "reproduced, but confounded with learning rate"


def test_dropout_at_the_same_rate_is_not_confounded(ten: StoreBuilder) -> None:
    found = with_dropout(ten)
    assert found.confounded_with == ()
    assert found.verdict_in_words == "reproduced"


@pytest.mark.parametrize(
    ("mean", "unit", "verdict"),
    [(0.86, 0.005, "reproduced"), (0.84, 0.005, "not reproduced"), (0.851, 0.01, "undecided")],
)
def test_the_goal_is_reached_when_the_interval_is_above_it(
    ten: StoreBuilder, mean: float, unit: float, verdict: str
) -> None:
    ten.cell(around(mean, unit), sharing=True, aux_weight=10)
    assert findings(ten)["goal"].verdict == verdict


@pytest.mark.parametrize(
    ("by_weight", "verdict", "best", "note"),
    [
        ({1: 0.80, 10: 0.86, 100: 0.82}, "reproduced", 10, ""),
        ({1: 0.80, 10: 0.83, 100: 0.86}, "not reproduced", 100, "better: 100"),
    ],
)
def test_the_best_weight_is_told_from_all_others(
    ten: StoreBuilder, by_weight: dict[float, float], verdict: str, best: float, note: str
) -> None:
    for index, (weight, mean) in enumerate(by_weight.items()):
        ten.cell(list(np.roll(around(mean), index)), sharing=True, aux_weight=weight)
    found = findings(ten)["best weight without dropout"]
    assert found.measured is not None
    assert (found.verdict, found.measured.mean, found.note) == (verdict, best, note)


def test_a_best_weight_that_cannot_be_told_is_undecided(ten: StoreBuilder) -> None:
    ten.cell(list(np.roll(around(0.860), 3)), sharing=True, aux_weight=3)
    ten.cell(around(0.862), sharing=True, aux_weight=10)
    ten.cell(list(np.roll(around(0.70), 5)), sharing=True, aux_weight=0.1)
    ten.part(ten.plan(sharing=True, aux_weight=100), [0.5] * 10, status="pruned", epochs=20)
    found = findings(ten)["best weight without dropout"]
    assert (found.verdict, found.note) == ("undecided", "not told apart from 3; not complete: 100")


def test_holm_makes_a_lead_over_many_weights_harder(ten: StoreBuilder) -> None:
    # A lead of 0.008 with std 0.01 * STD has t = 2.4, p = 0.04: enough for one rival, not for two that are alike.
    base = around(0.862, 0.0)
    ten.cell(base, sharing=True, aux_weight=10)
    ten.cell([b - s for b, s in zip(base, around(0.008), strict=True)], sharing=True, aux_weight=3)
    assert findings(ten)["best weight without dropout"].verdict == "reproduced"
    ten.cell([b - s for b, s in zip(base, around(0.008), strict=True)], sharing=True, aux_weight=1)
    found = findings(ten)["best weight without dropout"]
    assert (found.verdict, found.note) == ("undecided", "not told apart from 1, 3")


def test_what_is_not_complete_is_not_measured(ten: StoreBuilder) -> None:
    ten.cell(around(0.81))
    ten.part(ten.plan(sharing=True), [0.5] * 10, status="pruned", epochs=20)
    found = findings(ten)
    assert (found["sharing alone"].verdict, found["sharing alone"].note) == ("not measured", "pruned at epoch 20")
    assert found["classifier, pairs"].note == "not in this study"
    assert found["best weight without dropout"].note == "expected weight 10 and others, found 0 complete"
    assert found["sharing alone"].verdict_in_words == "not measured"


def test_one_seed_decides_nothing(new_store: Callable[..., StoreBuilder]) -> None:
    store = new_store(seeds=1)
    store.cell([0.81])
    store.cell([0.84], sharing=True)
    store.cell([0.86], sharing=True, aux_weight=10)
    found = findings(store)
    for key in ("auxiliary off, sharing off", "sharing alone", "goal", "best weight without dropout"):
        assert (found[key].verdict, found[key].note) == ("undecided", "one seed has no spread")
