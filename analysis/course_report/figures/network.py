"""Figure 1 of the report: the network, drawn from the list of layers that the study trained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from analysis.load import StudyData

WIDTH, HEIGHT = 0.84, 0.88  # of a box, in columns and rows
COLOURS = {"image": "#FFFFFF", "own": "#FFFFFF", "shared": "#D6E9F5", "joint": "#FBE3D3"}
WORDS = {"own": "one an image", "shared": "shared by both", "joint": "of the pair"}


@dataclass(frozen=True)
class Box:
    """A box of the diagram: its place, its lines of text, and whether it is an image, a layer of each image's own
    (``own``), one that both share (``shared``) or one of the pair (``joint``)."""

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
    """Return a diagram for each network of the study; none for a study that did not record them."""
    return tuple(_figure(network) for network in data.info.networks)


def _figure(network: Mapping[str, Any]) -> NetworkFigure:
    boxes = [Box(0, 0, "image", (f"{word} image", "1 x 14 x 14")) for word in ("first", "second")]
    columns, at = {"image": 0}, {"image": [0, 1]}  # of each layer, its column and its boxes
    arrows: list[tuple[int, int]] = []
    for layer in network["layers"]:
        name, kind = layer["name"], "joint" if layer["joint"] else "shared" if layer["towers"] == 1 else "own"
        columns[name] = 1 + max(columns[source] for source in layer["reads"])
        at[name] = list(range(len(boxes), len(boxes) + (2 if kind == "own" else 1)))
        boxes += [Box(columns[name], 0, kind, _lines(layer, kind)) for _ in at[name]]
        for source in layer["reads"]:
            pairs = zip(at[source], at[name], strict=True) if kind == "own" else product(at[source], at[name])
            arrows += pairs
    sharing = "" if network["model"] == "classifier" else f", sharing {'on' if network['sharing'] else 'off'}"
    title = f"{network['model']}{sharing}: {network['parameters']:,} parameters"
    return NetworkFigure(title, tuple(_placed(boxes)), tuple(arrows))


def _lines(layer: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    weight = layer["weight"]
    what = f"{'x'.join(map(str, weight[2:]))} convolution" if len(weight) > 2 else "linear"
    norm = " + batch norm" if layer.get("batch_norm") else ""
    count = prod(weight) + weight[0] + (2 * weight[0] if norm else 0)
    output = " x ".join(map(str, layer["output"]))
    parameters = f"{count:,} parameters" if kind != "own" else f"2 of {count:,} parameters"
    return layer["name"], f"{what}, {weight[1]} to {weight[0]}{norm}", f"gives {output}", parameters, WORDS[kind]


def _placed(boxes: list[Box]) -> list[Box]:
    """Spread the boxes of each column around the middle: one of a pair above, the other below what they enclose."""
    placed = list(boxes)
    for column in {box.column for box in boxes}:
        inside = [i for i, box in enumerate(boxes) if box.column == column]
        outer = [i for i in inside if boxes[i].kind in ("image", "own")]
        order = [*outer[::2], *(i for i in inside if i not in outer), *outer[1::2]]
        for place, index in enumerate(order):
            placed[index] = replace(boxes[index], row=(len(order) - 1) / 2 - place)
    return placed


def draw_network(info: NetworkFigure, ax: Axes) -> None:
    """Draw the boxes by column, from the images on the left to the outputs on the right."""
    for source, target in info.arrows:
        start, end = info.boxes[source], info.boxes[target]
        ax.annotate(
            "",
            (end.column - WIDTH / 2, end.row),
            (start.column + WIDTH / 2, start.row),
            arrowprops={"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
            zorder=1,
        )
    for box in info.boxes:
        corner = (box.column - WIDTH / 2, box.row - HEIGHT / 2)
        ax.add_patch(
            FancyBboxPatch(
                corner,
                WIDTH,
                HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=COLOURS[box.kind],
                edgecolor="black",
                linewidth=0.8,
                zorder=2,
            )
        )
        head, *rest = box.lines
        ax.text(box.column, box.row + HEIGHT / 2 - 0.06, head, ha="center", va="top", fontsize=8, weight="bold")
        ax.text(box.column, box.row - 0.08, "\n".join(rest), ha="center", va="center", fontsize=6.2)
    reach = max(1.0, *(abs(box.row) for box in info.boxes)) + HEIGHT / 2 + 0.1
    ax.set_xlim(-0.6, max(box.column for box in info.boxes) + 0.6)
    ax.set_ylim(-reach, reach)
    ax.set_title(info.title, fontsize=10)
    ax.set_axis_off()
