"""Accuracies of ten seeds with a known mean and spread."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest

from tests.analysis.conftest import StoreBuilder

SPREAD = np.array([-2, -1, 0, 0, 0, 0, 0, 0, 1, 2])  # sum 0, sum of squares 10: std is sqrt(10 / 9) of its unit
STD = sqrt(10 / 9)


def around(mean: float, unit: float = 0.01) -> list[float]:
    """Ten accuracies with this mean and a standard deviation of STD units."""
    return [float(mean + unit * step) for step in SPREAD]


@pytest.fixture
def ten(new_store: Callable[..., StoreBuilder]) -> StoreBuilder:
    store = new_store(seeds=10)
    store.roles = {"model": "scientific", **store.roles}
    return store
