import dataclasses

import pytest
from matplotlib.figure import Figure

from analysis.course_report.figures.boxes import boxes_data, draw_boxes
from tests.analysis.conftest import StoreBuilder


def test_the_cell_that_validation_chose_and_its_four_accuracies(store: StoreBuilder) -> None:
    store.cell([0.99] * 3, [0.5] * 3)
    store.cell([0.80, 0.82, 0.87], [0.6] * 3, sharing=True, aux_weight=3)
    store.cell([0.7] * 3, [0.9] * 3, dropout=0.5)
    store.cell([0.7] * 3, [0.9] * 3, model="classifier", sharing=True)
    data = store.load()
    trained = data.trials["test_accuracy"] / 2
    info = boxes_data(dataclasses.replace(data, trials=data.trials.assign(train_accuracy=trained)), dropout=False)
    assert (info.cell, info.n) == ("sharing on, dropout 0, aux weight 3, learning rate 0.001", 3)
    assert [box.label.replace("\n", " ") for box in info.boxes] == [
        "training digits",
        "training target",
        "test digits",
        "test target",
    ]
    assert info.boxes[3].values == pytest.approx((80, 82, 87))
    assert info.boxes[1].values == pytest.approx((40, 41, 43.5))
    assert [box.reported for box in info.boxes] == pytest.approx([98.3, 96.6, 95.1, 85.9])
    with_dropout = boxes_data(data, dropout=True)
    assert with_dropout.cell.startswith("sharing off, dropout 0.5")
    assert with_dropout.boxes[3].reported == pytest.approx(91.1)


def test_boxes_have_the_quartiles_and_points_the_seeds(store: StoreBuilder) -> None:
    store.seeds = 5
    store.cell([0.80, 0.81, 0.82, 0.85, 0.88])
    ax = Figure().add_subplot()
    draw_boxes(boxes_data(store.load(), dropout=False), ax)
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert points[3].get_ydata().tolist() == pytest.approx([80, 81, 82, 85, 88])
    medians = [line.get_ydata()[0] for line in ax.lines if line.get_linewidth() == 2]
    assert medians == pytest.approx([82] * 4)
    assert "n = 5" in ax.get_title()
    marks = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert marks == pytest.approx([98.3, 96.6, 95.1, 85.9])


def test_what_an_older_study_did_not_record_is_named(store: StoreBuilder) -> None:
    store.cell([0.80, 0.82, 0.87])
    data = store.load()
    older = dataclasses.replace(data, trials=data.trials.drop(columns=["train_accuracy", "train_digit_accuracy"]))
    info = boxes_data(older, dropout=False)
    assert [len(box.values) for box in info.boxes] == [0, 0, 3, 3]
    ax = Figure().add_subplot()
    draw_boxes(info, ax)
    assert [text.get_text() for text in ax.texts] == ["not\nrecorded"] * 2


def test_without_a_complete_cell_the_title_says_so(store: StoreBuilder) -> None:
    store.cell([0.8] * 3)
    store.part(store.plan(dropout=0.5), [0.5] * 3, status="pruned")
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    draw_boxes(boxes_data(store.load(), dropout=True), ax)
    figure.canvas.draw()
    assert ax.get_title() == "Figure 5: with dropout\nno complete cell, n = 0"


def test_one_seed_is_drawn(store: StoreBuilder) -> None:
    store.seeds = 1
    store.cell([0.8])
    figure = Figure(layout="constrained")
    draw_boxes(boxes_data(store.load(), dropout=False), figure.add_subplot())
    figure.canvas.draw()
