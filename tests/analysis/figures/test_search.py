import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.search import draw_history, draw_slice
from analysis.statistics.search_summary import history_data
from analysis.stored import FIRST_METRICS
from tests.analysis.conftest import StoreBuilder
from tests.analysis.statistics.test_search_summary import RANGES, searched


def test_slices_place_choices_side_by_side_and_bad_cells_at_the_fence(store: StoreBuilder) -> None:
    accuracies = [0.90, 0.91, 0.92, 0.93, 0.5]
    for place, accuracy in enumerate(accuracies):
        store.cell([accuracy] * 3, aux_weight=1.0 + place, sharing=place % 2 == 1)
    tried = history_data(searched(store))
    ax = Figure().subplots()
    draw_slice(FIRST_METRICS[0], tried, ("aux_weight", RANGES["aux_weight"]), ax)
    assert ax.get_xscale() == "log"
    ax = Figure().subplots()
    draw_slice(FIRST_METRICS[0], tried, ("sharing", RANGES["sharing"]), ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["off", "on"]
    lines = {str(line.get_label()): line.get_xydata() for line in ax.get_lines()}
    assert lines["a cell"] == pytest.approx(np.array([(0, 90), (1, 91), (0, 92), (1, 93)]))
    assert lines["lower still"] == pytest.approx(np.array([(0, 90 - 1.5 * 2)]))  # the quartiles are 90 and 92
    ax = Figure().subplots()
    draw_history(FIRST_METRICS[0], tried, ax)
    best = next(line for line in ax.get_lines() if line.get_label() == "best so far")
    assert best.get_ydata() == pytest.approx([90, 91, 92, 93, 93])
