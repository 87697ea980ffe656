"""Figure 1 of the course report: the networks, drawn from the layers that were trained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from analysis.figures.style import BLACK, DARK_GREY, PALE_BLUE, PALE_ORANGE, WHITE
from analysis.load import StudyData
from analysis.output.page import Panels, Picture, make_picture
from analysis.statistics.cells import format_setting

# Of a box, in columns and rows.
WIDTH = 0.84
HEIGHT = 0.88
COLOURS = {"image": WHITE, "own": WHITE, "shared": PALE_BLUE, "joint": PALE_ORANGE}
ARROW = {"arrowstyle": "-|>", "color": DARK_GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
WORDS = {"own": "one per image", "shared": "shared by both", "joint": "of the pair"}


@dataclass(frozen=True)
class Box:
    """A box of the diagram: its place, its kind and its lines of text.

    ``kind`` is ``image`` or, for a layer, a key of WORDS.
    """

    column: int
    row: float
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class NetworkFigure:
    """The diagram of a network: boxes, and arrows between their indices."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]


def network_data(data: StudyData) -> tuple[NetworkFigure, ...]:
    """Return one diagram per network that the study recorded."""
    return tuple(map(_figure, data.info.networks))


def _figure(network: Mapping[str, Any]) -> NetworkFigure:
    boxes = [Box(0, 0, "image", (f"{word} image", "1 x 14 x 14")) for word in ("first", "second")]
    # Of each layer so far, its column and the indices of its boxes.
    columns = {"image": 0}
    at = {"image": [0, 1]}
    arrows: list[tuple[int, int]] = []
    for layer in network["layers"]:
        name = layer["name"]
        kind = "joint" if layer["joint"] else "shared" if layer["towers"] == 1 else "own"
        columns[name] = 1 + max(columns[source] for source in layer["reads"])
        copies = 2 if kind == "own" else 1
        at[name] = list(range(len(boxes), len(boxes) + copies))
        boxes += [Box(columns[name], 0, kind, _lines(layer, kind))] * copies
        # A layer of one image reads only what comes from that image; all others read both.
        for source in layer["reads"]:
            arrows += zip(at[source], at[name], strict=True) if kind == "own" else product(at[source], at[name])
    sharing = "" if network["model"] == "classifier" else f", sharing {format_setting(network['sharing'])}"
    title = f"{network['model']}{sharing}: {network['parameters']:,} parameters"
    return NetworkFigure(title, tuple(_placed(boxes)), tuple(arrows))


def _lines(layer: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    weight = layer["weight"]
    what = f"{'x'.join(map(str, weight[2:]))} convolution" if len(weight) > 2 else "linear"
    # Weights and a bias per output; batch norm adds a scale and a shift per output.
    norm = " + batch norm" if layer.get("batch_norm") else ""
    count = prod(weight) + weight[0] + (2 * weight[0] if norm else 0)
    output = " x ".join(map(str, layer["output"]))
    parameters = f"{count:,} parameters" if kind != "own" else f"2 of {count:,} parameters"
    return layer["name"], f"{what}, {weight[1]} to {weight[0]}{norm}", f"gives {output}", parameters, WORDS[kind]


def _placed(boxes: list[Box]) -> list[Box]:
    """Spread each column's boxes around the middle, a pair above and below the others."""
    placed = list(boxes)
    for column in {box.column for box in boxes}:
        inside = [index for index, box in enumerate(boxes) if box.column == column]
        outer = [index for index in inside if boxes[index].kind in ("image", "own")]
        inner = [index for index in inside if index not in outer]
        order = [*outer[::2], *inner, *outer[1::2]]
        for place, index in enumerate(order):
            placed[index] = replace(boxes[index], row=(len(order) - 1) / 2 - place)
    return placed


def network_picture(data: StudyData) -> Picture | None:
    """Return the picture of figure 1; None if the study did not record its networks."""
    if not (infos := network_data(data)):
        return None
    alt = "The layers of the networks: what each reads, its weights and the shape of its output"
    caption = "Figure 1. Drawn from the layers that the study trained; each convolution is followed by 2x2 max-pooling."
    return make_picture("figure1", alt, caption, Panels(infos, draw_network, (10.0, 3.2)))


def draw_network(info: NetworkFigure, ax: Axes) -> None:
    """Draw the boxes by column, from the images on the left to the outputs on the right."""
    for source, target in info.arrows:
        start, end = info.boxes[source], info.boxes[target]
        tail = (start.column + WIDTH / 2, start.row)
        head = (end.column - WIDTH / 2, end.row)
        ax.annotate("", head, tail, arrowprops=ARROW, zorder=1)
    for box in info.boxes:
        _draw_box(box, ax)
    reach = max(1.0, *(abs(box.row) for box in info.boxes)) + HEIGHT / 2 + 0.1
    ax.set_xlim(-0.6, max(box.column for box in info.boxes) + 0.6)
    ax.set_ylim(-reach, reach)
    ax.set_title(info.title, fontsize=10)
    ax.set_axis_off()


def _draw_box(box: Box, ax: Axes) -> None:
    corner = (box.column - WIDTH / 2, box.row - HEIGHT / 2)
    look: dict[str, Any] = {"facecolor": COLOURS[box.kind], "edgecolor": BLACK, "linewidth": 0.8, "zorder": 2}
    ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.05", **look))
    # The name stands at the top in bold, the rest in small letters below it.
    head, *rest = box.lines
    ax.text(box.column, box.row + HEIGHT / 2 - 0.06, head, ha="center", va="top", fontsize=8, weight="bold")
    ax.text(box.column, box.row - 0.08, "\n".join(rest), ha="center", va="center", fontsize=6.2)
