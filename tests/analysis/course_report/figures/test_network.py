from itertools import combinations
from typing import Any

import pytest
from matplotlib.figure import Figure

from analysis.course_report.figures.network import NetworkFigure, draw_network, network_data
from analysis.load import StudyData
from tests.analysis.conftest import StoreBuilder, with_info


def layer(name: str, weight: list[int], reads: list[str], output: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "weight": weight, "towers": 1, "joint": False, "reads": reads, "output": output, **more}


def network(towers: int) -> dict[str, Any]:
    """A convolution of each image, a digit layer beside a layer of the pair, and one that reads both."""
    layers = [
        layer("conv", [8, 1, 3, 3], ["image"], [8, 6, 6], towers=towers),
        layer("digit", [10, 288], ["conv"], [10], towers=towers),
        layer("both", [4, 576], ["conv"], [4], joint=True),
        layer("out", [2, 24], ["both", "digit"], [2], joint=True),
    ]
    return {"model": "comparator", "sharing": towers == 1, "parameters": 12345, "layers": layers}


@pytest.fixture
def data(store: StoreBuilder) -> StudyData:
    store.cell([0.9] * 3)
    data = store.load()
    return with_info(data, networks=[network(2), network(1)])


def arrows_by_name(info: NetworkFigure) -> list[tuple[str, str]]:
    return sorted((info.boxes[a].lines[0], info.boxes[b].lines[0]) for a, b in info.arrows)


def test_boxes_say_what_the_list_says(data: StudyData) -> None:
    own, shared = network_data(data)
    assert own.title == "comparator, sharing off: 12,345 parameters"
    assert [box.lines[0] for box in own.boxes] == [
        *("first image", "second image", "conv", "conv", "digit", "digit", "both", "out")
    ]
    assert own.boxes[2].lines == (
        "conv",
        "3x3 convolution, 1 to 8",
        "gives 8 x 6 x 6",
        "2 of 80 parameters",
        "one per image",
    )
    assert shared.boxes[2].lines[3:] == ("80 parameters", "shared by both")
    assert shared.boxes[4].lines == ("both", "linear, 576 to 4", "gives 4", "2,308 parameters", "of the pair")
    assert [box.column for box in shared.boxes] == [0, 0, 1, 2, 2, 3]


def test_arrows_follow_what_each_layer_reads(data: StudyData) -> None:
    own, shared = network_data(data)
    assert arrows_by_name(shared) == [
        ("both", "out"),
        ("conv", "both"),
        ("conv", "digit"),
        ("digit", "out"),
        ("first image", "conv"),
        ("second image", "conv"),
    ]
    # Each image has its own convolution and digit layer, that of the same row; the pair reads both.
    assert len(own.arrows) == 2 + 2 + 2 + 2 + 1
    assert {(a, b) for a, b in own.arrows if b in (2, 3)} == {(0, 2), (1, 3)}


def test_no_two_boxes_or_texts_overlap(data: StudyData) -> None:
    for info in network_data(data):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        ax = figure.add_subplot()
        draw_network(info, ax)
        figure.canvas.draw()
        places = [(box.column, box.row) for box in info.boxes]
        for (column, row), (other_column, other_row) in combinations(places, 2):
            assert column != other_column or abs(row - other_row) >= 1
        texts = [text.get_window_extent() for text in ax.texts if text.get_text()]
        assert len(texts) == 2 * len(info.boxes)
        assert not any(one.overlaps(other) for one, other in combinations(texts, 2))
        patches = [patch.get_window_extent() for patch in ax.patches]
        for text in texts:
            assert any(patch.x0 <= text.x0 and text.x1 <= patch.x1 for patch in patches)


def test_a_study_that_recorded_no_network_has_no_figure(store: StoreBuilder) -> None:
    store.cell([0.9] * 3)
    assert network_data(store.load()) == ()
