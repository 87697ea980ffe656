"""A cell's network as plain data, for diagrams."""

import math
from collections.abc import Sequence
from typing import Any

from trainables.digits.classifier import Classifier
from trainables.digits.comparator import Comparator
from trainables.digits.settings import CellConfig
from trainables.engine.layers import Layer, parameter_count

IMAGE = (1, 14, 14)


def describe_network(config: CellConfig) -> dict[str, Any]:
    """Return model, sharing, parameters of one replicate, and each layer with its ``output``.

    Scales and shifts of batch normalisation count as parameters; their layer has ``batch_norm``.
    """
    layers = (Classifier(config) if config.model == "classifier" else Comparator(config)).layers
    weighted = [layer for layer in layers if len(layer.weight) > 1]
    normalised = {layer.reads[0] for layer in layers if len(layer.weight) == 1}
    described = []
    for layer, output in zip(weighted, output_shapes(weighted), strict=True):
        fields = {"name": layer.name, "weight": list(layer.weight), "towers": layer.towers}
        fields |= {"joint": layer.joint, "reads": list(layer.reads), "output": list(output)}
        described.append(fields | {"batch_norm": True} if layer.name in normalised else fields)
    return {
        "model": config.model,
        "sharing": config.sharing,
        "parameters": parameter_count(layers),
        "layers": described,
    }


def output_shapes(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """Return the shape of each layer's output for one image, or for the pair if it is joint.

    A convolution is followed by 2x2 pooling. Raises ValueError if layers do not fit together.
    """
    shapes: dict[str, tuple[int, ...]] = {"image": IMAGE}
    joint: set[str] = set()
    for layer in layers:
        if missing := [name for name in layer.reads if name not in shapes]:
            raise ValueError(f"layer {layer.name} reads {', '.join(missing)}: expected layers before it, or image")
        if not layer.joint and (pairs := joint.intersection(layer.reads)):
            raise ValueError(f"layer {layer.name} reads {', '.join(sorted(pairs))} of the pair: expected it joint too")
        if len(layer.weight) == 4:
            shapes[layer.name] = _pooled(layer, [shapes[name] for name in layer.reads])
        else:
            # A joint layer reads both images' outputs, but those of another joint layer once.
            images = 2 if layer.joint else 1
            read = sum(math.prod(shapes[name]) * (1 if name in joint else images) for name in layer.reads)
            if read != layer.weight[1]:
                raise ValueError(f"layer {layer.name} takes {layer.weight[1]} values: what it reads gives {read}")
            shapes[layer.name] = layer.weight[:1]
        if layer.joint:
            joint.add(layer.name)
    return [shapes[layer.name] for layer in layers]


def _pooled(layer: Layer, read: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the output of a convolution without padding, after pooling; raise ValueError."""
    channels, expected, *kernel = layer.weight
    if layer.joint or len(read) != 1 or len(read[0]) != 3 or read[0][0] != expected:
        raise ValueError(
            f"layer {layer.name} is a convolution: expected one image of {expected} channels to read, found {read}"
        )
    height, width = read[0][1:]
    return channels, (height - kernel[0] + 1) // 2, (width - kernel[1] + 1) // 2
