import numpy as np
import pytest

from analysis.statistics.cells import summarise_cells
from analysis.statistics.selection import best_cell, chosen_cells, fixed_contrasts, matching
from study.grid.load import load_grid
from study.grid.shipped import grid_names
from tests.analysis.conftest import StoreBuilder, with_info


def test_validation_chooses_and_test_does_not(store: StoreBuilder) -> None:
    store.cell([0.9] * 3, val=[0.5, 0.6, 0.7])
    chosen = store.cell([0.1] * 3, val=[0.7, 0.6, 0.6], aux_weight=1)
    best = best_cell(summarise_cells(store.load()))
    assert best is not None
    assert best["cell_id"] == chosen


def test_of_equals_the_smaller_tuned_value_is_chosen(store: StoreBuilder) -> None:
    store.cell([0.5] * 3, val=[0.1, 0.2, 0.3], aux_weight=3)  # the sums differ in the last bit
    chosen = store.cell([0.5] * 3, val=[0.3, 0.2, 0.1], aux_weight=1)
    best = best_cell(summarise_cells(store.load()))
    assert best is not None
    assert best["cell_id"] == chosen


def test_equals_are_ordered_by_the_first_tuned_factor_then_by_the_next(store: StoreBuilder) -> None:
    store.roles = {"learning_rate": "tuned", "dropout": "scientific", "aux_weight": "tuned"}
    store.cell([0.5] * 3, learning_rate=0.1, aux_weight=0)
    store.cell([0.5] * 3, learning_rate=0.01, aux_weight=3)
    store.cell([0.5] * 3, learning_rate=0.01, aux_weight=1, dropout=0.5)
    chosen = store.cell([0.5] * 3, learning_rate=0.01, aux_weight=1)  # of equals, reports list it first
    best = best_cell(summarise_cells(store.load()))
    assert best is not None
    assert best["cell_id"] == chosen


def test_equals_that_no_tuned_number_tells_apart_are_chosen_in_their_order(store: StoreBuilder) -> None:
    store.roles = {"sharing": "scientific", "optimiser": "tuned"}
    chosen = store.cell([0.5] * 3, optimiser="sgd")
    store.cell([0.5] * 3, optimiser="adam")
    best = best_cell(summarise_cells(store.load()))
    assert best is not None
    assert best["cell_id"] == chosen


@pytest.mark.parametrize("name", grid_names())
def test_on_shipped_grids_the_smallest_auxiliary_weight_is_chosen_of_equals(name: str, store: StoreBuilder) -> None:
    grid = load_grid(name)
    store.roles = dict(grid.roles)
    for cell in grid.cells():
        store.cell([0.5] * 3, **cell.model_dump())
    cells = summarise_cells(store.load())
    generator = np.random.default_rng(0)
    for size in range(1, 1 + len(cells)):  # whichever cells tie
        equals = cells.iloc[np.sort(generator.choice(len(cells), size, replace=False))]
        best = best_cell(equals)
        assert best is not None
        assert best["cell_id"] == equals.sort_values("aux_weight", kind="stable")["cell_id"].iloc[0]


def test_none_is_chosen_where_none_is_complete(store: StoreBuilder) -> None:
    store.cell([0.9] * 2)
    assert best_cell(summarise_cells(store.load())) is None


def test_matching_needs_all_settings(store: StoreBuilder) -> None:
    store.cell([0.9] * 3, sharing=True)
    wanted = store.cell([0.9] * 3, sharing=True, aux_weight=1)
    cells = summarise_cells(store.load())
    assert matching(cells, {"sharing": True, "aux_weight": 1})["cell_id"].tolist() == [wanted]
    assert matching(cells, {"sharing": True, "aux_weight": 2}).empty


@pytest.fixture
def contrasted(store: StoreBuilder) -> StoreBuilder:
    """Two strata (sharing) of two weights each, the larger one better; the unshared 0 in a contrast."""
    for sharing in (False, True):
        store.cell([0.8] * 3, sharing=sharing)
        store.cell([0.9] * 3, sharing=sharing, aux_weight=1)
    return store


CONTRASTS = [
    {"name": "sharing", "plus": [{"sharing": True}], "minus": [{"sharing": False, "aux_weight": 0}]},
    {"name": "of what was not run", "plus": [{"aux_weight": 1}], "minus": [{"aux_weight": 5}]},
]


def test_a_confirmation_has_the_best_of_each_stratum_and_what_contrasts_compare(contrasted: StoreBuilder) -> None:
    data = contrasted.load()
    assert chosen_cells(data) == ["cell01", "cell03"]
    data = with_info(data, contrasts=CONTRASTS)
    assert chosen_cells(data) == ["cell00", "cell01", "cell03"]


def test_contrasts_are_fixed_to_the_cells_they_stood_for(contrasted: StoreBuilder) -> None:
    data = contrasted.load()
    data = with_info(data, contrasts=CONTRASTS)
    assert fixed_contrasts(data) == [
        {"name": "sharing", "plus": [{"cell_id": "cell03"}], "minus": [{"cell_id": "cell00"}]}
    ]


def test_without_a_scientific_factor_there_is_one_stratum(contrasted: StoreBuilder) -> None:
    contrasted.roles = {"sharing": "fixed", "aux_weight": "tuned"}
    assert len(chosen_cells(contrasted.load())) == 1
