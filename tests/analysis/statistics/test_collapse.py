from collections.abc import Callable

import numpy as np
import pytest

from analysis.statistics.collapse import collapse_in_words, collapsed_seeds
from tests.analysis.conftest import StoreBuilder


def test_a_seed_at_chance_is_named_with_the_exact_interval_of_its_share(
    new_store: Callable[..., StoreBuilder],
) -> None:
    store = new_store(seeds=10)
    values = np.random.default_rng(1).normal(0.87, 0.012, (2, 10))
    values[1, 7] = 0.5
    store.cell(values[0].tolist())
    store.cell(values[1].tolist(), sharing=True)
    data = store.load()
    found = collapsed_seeds(data)
    assert found.stack()[lambda flags: flags].index.tolist() == [("cell01", 7)]
    (words,) = collapse_in_words(data)
    # For 1 of 20: the ends are 1 - 0.975^(1/20) and, from a table of Clopper and Pearson, 24.9 %.
    assert words.startswith("1 of 20 trainings have collapsed, 5.0 % (0.1 to 24.9 %, exact 95 % interval)")
    assert "sharing on, dropout 0, aux weight 0, learning rate 0.001: seed 7" in words


@pytest.mark.parametrize("seeds", [1, 2, 10])
def test_usual_seeds_have_not_collapsed(new_store: Callable[..., StoreBuilder], seeds: int) -> None:
    store = new_store(seeds=seeds)
    values = np.random.default_rng(2).normal(0.87, 0.012, (4, seeds))
    values[3] = 0.5  # a cell that is at chance with every seed is what it is
    for weight, row in enumerate(values):
        store.cell(row.tolist(), aux_weight=weight)
    assert collapse_in_words(store.load()) == []
