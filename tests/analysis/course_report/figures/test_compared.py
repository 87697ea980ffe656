import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis.course_report.draw import draws
from analysis.course_report.figures.compared import compared_data, draw_compared
from analysis.course_report.verdicts import findings_data
from analysis.statistics.inference import Measure
from tests.analysis.conftest import StoreBuilder


def test_accuracies_of_the_report_and_of_the_study_in_percent(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.96, 0.97, 0.98], sharing=True, model="classifier")
    rows = compared_data(findings_data(store.load()))
    assert [row.label for row in rows] == ["classifier, digits", "classifier, pairs", "auxiliary off, sharing off"]
    digits, _, plain = rows
    assert digits.reported[0] == pytest.approx(95.5)
    assert np.isnan(digits.reported[1:]).all()  # the report gives no spread
    # The report's spread over ten rounds and its one draw.
    found = Measure(0, 0.011 / 10**0.5, 9) - draws(1, False, 0.807)
    reach = 100 * stats.t.ppf(0.975, found.df) * found.se
    assert plain.reported == pytest.approx((80.7, 80.7 - reach, 80.7 + reach), rel=1e-4)
    assert plain.measured[0] == pytest.approx(83)
    assert plain.measured[2] - 83 == pytest.approx(4.303 * 3.6056 / 3**0.5, rel=1e-3)


def test_both_stand_in_the_line_of_their_figure(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.81, 0.82, 0.83], sharing=True)
    ax = Figure().add_subplot()
    draw_compared(compared_data(findings_data(store.load())), ax)
    reported, measured = ax.containers
    assert reported[0].get_xdata().tolist() == pytest.approx([80.7, 83.9])
    assert measured[0].get_xdata().tolist() == pytest.approx([83, 82])
    assert [round(place) for place in measured[0].get_ydata()] == [0, 1]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "auxiliary off, sharing off",
        "auxiliary off, sharing on",
    ]
    assert ax.get_legend().get_texts()[1].get_text() == "this study, n = 3"


def test_a_study_of_something_else_says_so(store: StoreBuilder) -> None:
    store.cell([0.8] * 3, aux_weight=7)
    ax = Figure().add_subplot()
    draw_compared(compared_data(findings_data(store.load())), ax)
    assert [text.get_text() for text in ax.texts] == ["No accuracy of the report is measured"]
