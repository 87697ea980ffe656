from collections.abc import Callable

import pytest
from scipy import stats

from analysis.statistics.effects import anova_data, effects_sheet, main_effects_data
from analysis.stored import AnalysisError
from tests.analysis.conftest import StoreBuilder


@pytest.fixture
def crossed(store: StoreBuilder) -> StoreBuilder:
    """Sharing x dropout, the learning rate tied to dropout; three seeds that differ by 0, 0.01 and 0.02."""
    for sharing, dropout, base in ((False, 0, 0.80), (True, 0, 0.82), (False, 0.5, 0.85), (True, 0.5, 0.89)):
        rate = 0.01 if dropout else 0.001
        values = [base + 0.01 * seed for seed in range(3)]
        store.cell(values, sharing=sharing, dropout=dropout, learning_rate=rate)
    return store


def test_main_effects_average_pairs_that_differ_in_nothing_else(crossed: StoreBuilder) -> None:
    sharing, dropout = main_effects_data(crossed.load())
    assert (sharing.factor, sharing.value, sharing.baseline, sharing.along, sharing.pairs) == (
        "sharing",
        True,
        False,
        (),
        2,
    )
    assert sharing.estimate.mean == pytest.approx((0.02 + 0.04) / 2)
    assert sharing.estimate.std == pytest.approx(0)
    assert (dropout.factor, dropout.value, dropout.along) == ("dropout", 0.5, ("learning_rate",))
    assert dropout.estimate.mean == pytest.approx((0.05 + 0.07) / 2)


def test_a_cell_without_its_twin_has_no_part(crossed: StoreBuilder) -> None:
    crossed.cell([0.99] * 3, sharing=True, aux_weight=1)
    crossed.cell([0.99] * 3, sharing=False, dropout=0.5, aux_weight=1, learning_rate=0.01)
    sharing = next(e for e in main_effects_data(crossed.load()) if e.factor == "sharing")
    assert sharing.pairs == 2


def test_classifiers_and_incomplete_cells_have_no_main_effect(crossed: StoreBuilder) -> None:
    before = main_effects_data(crossed.load())
    crossed.cell([0.99] * 3, sharing=True, model="classifier")
    crossed.part(crossed.plan(sharing=True, aux_weight=1), [0.5] * 3, status="pruned")
    assert repr(main_effects_data(crossed.load())) == repr(before)  # without a spread, ends are NaN


def test_sums_of_squares_of_a_balanced_table_by_hand(crossed: StoreBuilder) -> None:
    anova = anova_data(crossed.load())
    rows = {row.term: row for row in anova.rows}
    assert (anova.n, anova.note) == (12, "")
    assert list(rows) == ["sharing", "dropout", "seed", "sharing x dropout", "residual"]
    # Cell means 0.81, 0.83, 0.86, 0.90 around 0.85: effects of half of 0.03, 0.06 and 0.01 over 12 trainings.
    assert [rows[name].df for name in rows] == [1, 1, 2, 1, 6]
    expected = [12 * 0.015**2, 12 * 0.03**2, 4 * 2 * 0.01**2, 12 * 0.005**2, 0]
    assert [row.sum_sq for row in anova.rows] == pytest.approx(expected)
    assert rows["residual"].p is None


def test_f_and_p_of_one_factor_are_those_of_a_paired_t(store: StoreBuilder) -> None:
    off, on = [0.80, 0.82, 0.81], [0.84, 0.83, 0.86]
    store.cell(off)
    store.cell(on, sharing=True)
    sharing, seed, residual = anova_data(store.load()).rows
    expected = stats.ttest_rel(on, off)
    assert (sharing.f, sharing.p) == pytest.approx((expected.statistic**2, expected.pvalue))
    assert sharing.partial_eta_sq == pytest.approx(sharing.sum_sq / (sharing.sum_sq + residual.sum_sq))
    assert (seed.df, residual.df) == (2, 2)


def test_a_crossing_with_a_hole_has_no_anova(crossed: StoreBuilder) -> None:
    crossed.part(crossed.plan(sharing=True, aux_weight=1), [0.5] * 3, status="pruned")
    crossed.cell([0.9] * 3, aux_weight=1)
    anova = anova_data(crossed.load())
    assert anova.rows == ()
    assert anova.note.startswith(
        "There is no analysis of variance: of 8 combinations of sharing, dropout, aux_weight, 5 are"
    )


def test_one_cell_or_one_seed_has_no_anova(store: StoreBuilder, new_store: Callable[..., StoreBuilder]) -> None:
    store.cell([0.9] * 3)
    single = new_store(name="single", seeds=1)
    single.cell([0.9])
    single.cell([0.8], sharing=True)
    for data in (store.load(), single.load()):
        assert anova_data(data).note == "An analysis of variance needs a factor with two values and two seeds."


def effects_of(store: StoreBuilder) -> dict[str, tuple[float, int]]:
    return {e.factor: (round(e.estimate.mean, 9), e.pairs) for e in main_effects_data(store.load())}


def test_a_later_rule_for_a_crossed_setting_changes_no_effect(store: StoreBuilder) -> None:
    """Dropout costs 0.03 and the rate brings 0.01; pairs of other rates would mix the two."""
    for dropout, rate in ((0, 0.001), (0.5, 0.001), (0, 0.01), (0.5, 0.01)):
        store.cell([0.8 - 0.06 * dropout + (0.01 if rate == 0.01 else 0)] * 3, dropout=dropout, learning_rate=rate)
    store.roles = {"dropout": "scientific", "learning_rate": "fixed"}  # as after a run in which a rule sets the rate
    assert effects_of(store) == {"dropout": (-0.03, 2), "learning_rate": (0.01, 2)}
    assert [row.term for row in anova_data(store.load()).rows][:2] == ["dropout", "learning rate"]


def test_cells_that_nothing_tells_apart_are_refused(crossed: StoreBuilder) -> None:
    crossed.cell([0.9] * 3)
    with pytest.raises(AnalysisError, match=r"the cells cell00, cell04 of study abc have the same settings"):
        main_effects_data(crossed.load())


def test_values_of_any_type_have_an_effect_and_words_are_in_the_order_of_the_grid(
    store: StoreBuilder,
) -> None:
    store.roles = {"norm": "scientific"}
    for place, norm in enumerate(("zero", "layer", 0.5, None, True, [8, 8])):
        store.cell([0.5 + 0.01 * place] * 3, norm=norm)
    found = [(e.baseline, e.value, round(e.estimate.mean, 9)) for e in main_effects_data(store.load())]
    assert found == [
        (None, 0.5, -0.01),
        (None, True, 0.01),
        (None, "zero", -0.03),
        (None, "layer", -0.02),
        (None, [8, 8], 0.02),
    ]


def test_rounding_is_no_variance(store: StoreBuilder) -> None:
    for sharing in (False, True):
        for dropout in (0, 0.5):
            store.cell([0.1 + 0.2] * 3, sharing=sharing, dropout=dropout)
    rows = anova_data(store.load()).rows
    assert {(row.sum_sq, row.f, row.p) for row in rows} == {(0.0, None, None)}


def test_the_table_says_which_cells_are_left_out(crossed: StoreBuilder) -> None:
    data = crossed.load()
    caption = effects_sheet(data, main_effects_data(data)).caption
    assert "left out" not in caption
    assert "model" not in caption
    crossed.cell([0.99] * 3, sharing=True, model="classifier")
    crossed.part(crossed.plan(sharing=True, aux_weight=1), [0.5] * 3, status="pruned")
    data = crossed.load()
    caption = effects_sheet(data, main_effects_data(data)).caption
    assert "Only cells of the model comparator count. 1 pruned cells are left out" in caption
