import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.effects import draw_effects, effects_data, interaction_picture
from analysis.output.page import draw_figure
from analysis.statistics.contrasts import EstimatedContrast
from analysis.statistics.effects import Effect, anova_data
from analysis.statistics.inference import Estimate
from tests.analysis.conftest import StoreBuilder

ESTIMATE = Estimate(n=10, mean=0.03, std=0.01, low=0.02, high=0.05)
CONTRASTS = (
    EstimatedContrast("sharing alone", (), (), "complete", ESTIMATE, 0.004, 0.012),
    EstimatedContrast("sure", (), (), "complete", ESTIMATE, 1e-6, 2e-6),
    EstimatedContrast("unknown", (), (), "aux weight 3: not run", None, None, None),
)
EFFECTS = (
    Effect("sharing", True, False, (), 16, ESTIMATE),
    Effect("dropout", 0.5, 0.0, ("learning_rate",), 16, ESTIMATE),
)


def test_contrasts_come_first_and_say_their_corrected_p() -> None:
    rows = effects_data(EFFECTS, CONTRASTS, 100)
    assert [row.label.replace("\xa0", " ") for row in rows] == [
        "sharing alone (p = 0.012)",
        "sure (p < 0.001)",
        "unknown: no estimate",
        "sharing: on − off",
        "dropout: 0.5 − 0 (with learning rate)",
    ]
    assert [row.named for row in rows] == [True, True, True, False, False]
    assert (rows[0].n, rows[0].mean, rows[0].low, rows[0].high) == pytest.approx((10, 3, 2, 5))
    assert (rows[2].n, np.isnan(rows[2].mean)) == (0, True)


def test_points_stand_at_their_means_with_their_intervals() -> None:
    ax = Figure().add_subplot()
    draw_effects("points", effects_data(EFFECTS, CONTRASTS, 100), ax)
    named, main = ax.containers
    assert named[0].get_ydata().tolist() == [0, 1, 2]
    assert named[0].get_xdata()[:2].tolist() == pytest.approx([3, 3])
    assert main[0].get_ydata().tolist() == [3, 4]
    left, right = main[2][0].get_segments()[0][:, 0]
    assert (left, right) == pytest.approx((2, 5))
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first row is on top
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "named in advance, n = 10",
        "main effect, n = 10",
    ]


def test_one_seed_and_no_row_are_drawn() -> None:
    nan = float("nan")
    single = (Effect("sharing", True, False, (), 1, Estimate(1, 0.03, nan, nan, nan)),)
    for rows in (effects_data(single, (), 100), effects_data((), CONTRASTS[2:], 100)):
        figure = Figure(layout="constrained")
        draw_effects("points", rows, figure.add_subplot())
        figure.canvas.draw()


def test_the_lines_of_an_interaction_are_means_of_cells(store: StoreBuilder) -> None:
    for sharing, dropout, mean in ((False, 0, 0.80), (True, 0, 0.82), (False, 0.5, 0.85), (True, 0.5, 0.89)):
        for aux_weight in (0, 1):
            store.cell(
                [mean - 0.01, mean, mean + 0.01 + 0.03 * aux_weight],
                sharing=sharing,
                dropout=dropout,
                aux_weight=aux_weight,
            )
    data = store.load()
    picture = interaction_picture(data, anova_data(data))
    assert picture is not None
    (ax,) = draw_figure(picture).axes
    # Half of the cells have 1 point more, in the mean of their seeds.
    assert [list(line.get_ydata()) for line in ax.get_lines()] == [
        pytest.approx([80.5, 82.5]),
        pytest.approx([85.5, 89.5]),
    ]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["off", "on"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dropout 0", "dropout 0.5"]


def test_one_factor_has_no_interaction(store: StoreBuilder) -> None:
    store.cell([0.8, 0.81, 0.82])
    store.cell([0.8, 0.83, 0.82], sharing=True)
    data = store.load()
    assert interaction_picture(data, anova_data(data)) is None
