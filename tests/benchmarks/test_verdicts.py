from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.verdicts import TRUTHS, draw_of, verdicts_of
from tests.analysis.conftest import StoreBuilder, new_store  # noqa: F401  pytest finds the fixture by its name


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.kind)
def test_at_most_5_percent_of_true_claims_are_contradicted(truth):
    # 0.05 plus three standard errors of 400 studies is 0.083; without the draw it is over 0.15.
    counts = verdicts_of(truth, 0.0, 20, 400, np.random.default_rng(1))
    assert counts["with"]["contradicted"] <= 33
    assert counts["without"]["contradicted"] > 60


def test_a_claim_that_is_off_by_the_margin_agrees_in_at_most_5_percent():
    counts = verdicts_of(TRUTHS[1], 0.03, 40, 400, np.random.default_rng(2))
    assert 0 < counts["with"]["agrees"] <= 33


def test_a_draw_is_what_seeds_that_redraw_vary_more(new_store: Callable[..., StoreBuilder]):  # noqa: F811
    rng = np.random.default_rng(3)
    store = new_store(seeds=400)
    store.roles |= {"fixed_data": "scientific"}
    draws = 0.012 * rng.normal(size=400)
    for fixed in (False, True):
        for sharing in (False, True):
            for weight in (0, 10):
                accuracies = 0.85 + 0.01 * rng.normal(size=400) + (0 if fixed else draws)
                store.cell(accuracies.tolist(), sharing=sharing, aux_weight=weight, fixed_data=fixed)
    found = draw_of(store.load())
    draw, redrawn, shared = found["accuracy"]
    # 0.012^2 is 1.44e-4, of which 0.85 * 0.15 / 1000 = 1.275e-4 is the binomial share.
    assert draw.variance + 1.275e-4 == pytest.approx(1.44e-4, abs=3 * draw.error)
    assert 0.05e-4 < draw.error < 0.15e-4
    assert shared[1] > 1200  # four cells that share nothing have 4 * 399 degrees of freedom
    assert redrawn[1] < 800
    # The draw cancels in a paired difference.
    gain, _, _ = found["gain"]
    assert abs(gain.variance) < 3 * gain.error
