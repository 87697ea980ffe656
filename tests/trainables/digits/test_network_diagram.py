import json

import pytest
import torch
from torch.overrides import TorchFunctionMode

from trainables.digits.convolution import by_layers
from trainables.digits.network_diagram import describe_network, output_shapes
from trainables.digits.settings import CellConfig
from trainables.engine.layers import Layer, initial_parameters
from trainables.registry import build

CELLS = [CellConfig(), CellConfig(sharing=True), CellConfig(model="classifier", sharing=True)]
K, B = 3, 5


@pytest.mark.parametrize(("cell", "parameters"), [*zip(CELLS, (47_702, 33_996, 13_706), strict=True)])
def test_a_network_in_plain_data(cell, parameters):
    network = describe_network(cell)
    towers = 1 if cell.sharing else 2
    digit = {"towers": towers, "joint": False}
    expected = [
        {"name": "conv1", "weight": [16, 1, 3, 3], **digit, "reads": ["image"], "output": [16, 6, 6]},
        {"name": "conv2", "weight": [32, 16, 3, 3], **digit, "reads": ["conv1"], "output": [32, 2, 2]},
        {"name": "digit1", "weight": [64, 128], **digit, "reads": ["conv2"], "output": [64]},
        {"name": "digit2", "weight": [10, 64], **digit, "reads": ["digit1"], "output": [10]},
    ]
    if cell.model == "comparator":
        pair = {"towers": 1, "joint": True}
        expected += [
            {"name": "compare1", "weight": [64, 256], **pair, "reads": ["conv2"], "output": [64]},
            {"name": "compare2", "weight": [32, 64], **pair, "reads": ["compare1"], "output": [32]},
            {"name": "output1", "weight": [32, 52], **pair, "reads": ["compare2", "digit2"], "output": [32]},
            {"name": "output2", "weight": [2, 32], **pair, "reads": ["output1"], "output": [2]},
        ]
    assert network == {
        "model": cell.model,
        "sharing": cell.sharing,
        "parameters": parameters,
        "layers": expected,
    }
    assert json.loads(json.dumps(network)) == network


class Forward(TorchFunctionMode):
    """Notes each convolution with its pooling and each matrix product of a forward pass, as a layer would say it.

    What a layer reads is found in the graph that autograd keeps: the nearest layers behind its input, or the image.
    """

    def __init__(self, names, towers):
        super().__init__()
        self._towers = towers
        self._names, self._layers, self.found = iter(names), {}, []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.__name__ in ("conv2d", "baddbmm"):
            inputs, weight = (args[0], args[1]) if func.__name__ == "conv2d" else (args[1], args[2].mT)
            name = next(self._names)
            # One matrix a pair, or one an image; a convolution has all images as its groups.
            joint = func.__name__ == "baddbmm" and len(weight) == K
            self.found.append({"name": name, "joint": joint, "reads": self._behind(inputs.grad_fn)})
            self.found[-1]["output"] = [result.shape[-1]]
            self._layers[result.grad_fn] = name
        if func.__name__ == "max_pool2d":
            channels, *size = result.shape[1:]
            self.found[-1]["output"] = [channels // (self._towers * K), *size]
        return result

    def _behind(self, node):
        if node is None:  # no gradient flows from an image as it is
            return ["image"]
        found, nodes = set(), [node]
        while nodes:
            node = nodes.pop()
            if node in self._layers:
                found.add(self._layers[node])
            else:
                nodes += [before for before, _ in node.next_functions if before is not None]
        return sorted(found)


@pytest.mark.parametrize("cell", CELLS)
def test_it_is_what_the_forward_pass_does(cell, monkeypatch):
    monkeypatch.setattr(
        "trainables.digits.classifier.read_features", by_layers
    )  # a kernel shows no layer; they agree elsewhere
    model = build(cell)
    layers = describe_network(cell)["layers"]
    parameters = initial_parameters(model.layers, range(K), torch.device("cpu")).requires_grad_()
    images = torch.rand(K, B, 2, 14, 14)
    with Forward([layer["name"] for layer in layers], layers[0]["towers"]) as forward:
        model.forward(parameters, images, None)
    said = [{name: layer[name] for name in ("name", "joint", "reads", "output")} for layer in layers]
    assert forward.found == said


CONV = Layer("conv", (4, 1, 3, 3))
PAIR = Layer("pair", (5, 2 * 4 * 36), reads=("conv",), joint=True)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Layer("a", (5, 196)), Layer("b", (2, 6), reads=("a",))], "layer b takes 6 values: what it reads gives 5"),
        ([CONV, Layer("a", (5, 2 * 4 * 36), reads=("conv",))], "layer a takes 288 values: what it reads gives 144"),
        ([CONV, PAIR, Layer("a", (2, 10), reads=("pair",), joint=True)], "layer a takes 10 values: .* gives 5"),
        ([CONV, PAIR, Layer("a", (2, 5), reads=("pair",))], "layer a reads pair of the pair: expected it joint too"),
        ([PAIR, CONV], "layer pair reads conv: expected layers before it, or image"),
        (
            [CONV, Layer("a", (4, 1, 3, 3), reads=("conv",))],
            "layer a is a convolution: expected one image of 1 channels",
        ),
        ([Layer("a", (5, 196)), Layer("b", (4, 5, 3, 3), reads=("a",))], "layer b is a convolution"),
        ([Layer("a", (4, 2, 3, 3), joint=True)], "layer a is a convolution"),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        output_shapes(layers)


def test_layers_that_fit_together():
    last = Layer("last", (3, 5 + 2 * 196), reads=("pair", "image"), joint=True)
    assert output_shapes([CONV, PAIR, last]) == [(4, 6, 6), (5,), (3,)]
