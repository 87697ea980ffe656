"""What a stack cannot train is refused before a run, in one line. Each was found by trying it as a user."""

import re
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from trainables import CellSettings, Examples, Metric, Split, split_examples
from trainables.registry import ModelError, check

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")  # some layers are batched by a loop
FUNCTION = r"make it a function \(model: my_module:train\)"


class Own(nn.Module):
    """Points in the plane; subclasses are what users write."""

    class Settings(CellSettings):
        units: int = Field(8, ge=1)
        batch_size: int = 30

    def __init__(self, settings):
        super().__init__()
        self.first = nn.Linear(2, settings.units)
        self.last = nn.Linear(settings.units, 2)

    def forward(self, inputs):
        return self.last(self.hidden(F.relu(self.first(inputs))))

    def hidden(self, hidden):
        return hidden

    @staticmethod
    def load(settings, data_dir):
        points = torch.randn(130, 2, generator=torch.Generator().manual_seed(7))
        return Examples(points, (points.norm(dim=1) < 1).long())

    @staticmethod
    def draw(pool, settings, seed):
        return split_examples(pool.inputs, pool.labels, seed, 0.2, 0.3)


def drawing(change):
    """The model with other draws: change gets the split and the seed."""
    return type("Drawing", (Own,), {"draw": staticmethod(lambda pool, s, seed: change(Own.draw(pool, s, seed), seed))})


def part(examples, inputs=lambda x: x, labels=lambda x: x):
    return Examples(inputs(examples.inputs), labels(examples.labels))


def all_parts(**changes):
    return drawing(lambda split, seed: Split(*(part(one, **changes) for one in (split.train, split.validation))))


class Layer(Own):
    """With another layer between the two."""

    layer: ClassVar = nn.Identity

    def __init__(self, settings):
        super().__init__(settings)
        self.own = self.layer()

    def hidden(self, hidden):
        return self.own(hidden)


def layer(make):
    return type("Layer", (Layer,), {"layer": staticmethod(make)})


def hidden(change):
    return type("Hidden", (Own,), {"hidden": lambda self, x: change(self, x)})


def method(**methods):
    return type("Method", (Own,), methods)


class Recurrent(Own):
    def __init__(self, settings):
        super().__init__(settings)
        self.gru = nn.GRU(settings.units, settings.units, batch_first=True)

    def hidden(self, hidden):
        return self.gru(hidden.unsqueeze(1))[0].squeeze(1)


class Unregistered(Own):
    def __init__(self, settings):
        super().__init__(settings)
        self.more = [nn.Linear(settings.units, settings.units)]

    def hidden(self, hidden):
        return self.more[0](hidden)


class RandomBuffer(Own):
    def __init__(self, settings):
        super().__init__(settings)
        self.register_buffer("noise", torch.randn(settings.units))

    def hidden(self, hidden):
        return hidden * self.noise


class NumpyStart(Own):
    def __init__(self, settings):
        super().__init__(settings)
        self.first.weight.data = torch.tensor(np.random.randn(settings.units, 2)).float()  # noqa: NPY002


class LossOfWeights(Own):
    def losses(self, outputs, labels):
        return F.cross_entropy(outputs, labels, reduction="none") + self.first.weight.square().sum()


class LearnedWeight(Own):
    def __init__(self, settings):
        super().__init__(settings)
        self.weight = nn.Parameter(torch.zeros(()))  # the same for every seed at first

    def losses(self, outputs, labels):
        return F.cross_entropy(outputs, labels, reduction="none") * torch.exp(-self.weight) + self.weight


class Regression(Own):
    class Settings(Own.Settings):
        metrics: ClassVar = (Metric("rmse", "min"),)

    draw = all_parts(labels=lambda x: x.float()).draw

    def losses(self, outputs, labels):
        return (outputs[:, 0] - labels).square()

    def figures(self, outputs, labels):
        return {"rmse": (outputs[:, 0] - labels).square().mean().sqrt()}


class VariesUnits(Own):
    class Settings(Own.Settings):
        varied_in_a_stack: ClassVar = ("learning_rate", "units")


class OneExampleLeft(Layer):
    layer: ClassVar = staticmethod(lambda: nn.BatchNorm1d(8))

    class Settings(Own.Settings):
        batch_size: int = 16  # of 65 examples


def own_batch_norm(self, hidden):
    return (hidden - hidden.mean(0)) / (hidden.std(0, correction=0) + 1)


REFUSED = [
    # examples
    (all_parts(inputs=lambda x: (x, x)), f"inputs of type tuple: expected a tensor .*{FUNCTION}"),
    (all_parts(inputs=lambda x: x.double()), r"inputs of float64: expected float32.*use \.float\(\)"),
    (all_parts(labels=lambda x: x[1:]), r"65 inputs and 64 labels to train: expected equally many"),
    (drawing(lambda split, seed: (split.train, split.test)), r"draw gives a tuple: expected trainables.Split"),
    (
        drawing(lambda split, seed: Split(part(split.train, lambda x: x[seed:], lambda x: x[seed:]), split.test)),
        rf"inputs of shape \[65, 2\] to train for seed 0 and \[64, 2\] for seed 1: expected the same .*{FUNCTION}",
    ),
    (
        drawing(lambda split, seed: Split(part(split.train, lambda x: x + torch.rand(1)), split.test)),
        "other examples when it is called again with the same seed",
    ),
    (all_parts(inputs=lambda x: torch.where(x > 2, torch.nan, x)), r"inputs to train that are NaN .*expected finite"),
    # labels and outputs that the built-in loss and accuracy are not for
    (all_parts(labels=lambda x: x.float()), r"labels are float32 of shape .*, int64 \[65\]; define losses"),
    (all_parts(labels=lambda x: x + 1), "label 2 with 2 logits: expected labels from 0 to 1"),
    (all_parts(labels=lambda x: x * -100), "label -100 with 2 logits"),
    (
        method(forward=lambda self, x: self.last(self.first(x))[:, :1]),
        r"forward gives \[8, 1\] .*logits.*define losses",
    ),
    (method(forward=lambda self, x: {"logits": self.last(self.first(x))}), "forward gives dict for 8 examples"),
    (
        method(losses=lambda self, x, y: (x[:, 0] - y).square(), draw=Regression.draw),
        "built-in accuracy .*define correct",
    ),
    (method(losses=lambda self, x, y: F.cross_entropy(x, y)), r"losses of Method gives \[\] for 8 examples: .*\[8\]"),
    (method(correct=lambda self, x, y: (x.argmax(-1) == y).float().mean()), r"correct of Method gives \[\] for 26"),
    (method(losses=lambda self, x, y: (x.argmax(-1) - y).float()), "losses do not depend on parameters"),
    # layers
    (Recurrent, f"cannot train as one stack .*gru.*{FUNCTION}"),
    (layer(lambda: spectral_norm(nn.Linear(8, 8))), rf"changes its buffer own\.\S+_u .*{FUNCTION}"),
    (layer(lambda: nn.AlphaDropout(0.5)), f"it draws random numbers, .*{FUNCTION}"),
    (hidden(lambda self, x: F.dropout(x, 0.5, self.training)), f"it draws random numbers, .*{FUNCTION}"),
    (hidden(lambda self, x: x * np.random.rand()), f"seed 1 has loss .* in a stack and .* alone.*{FUNCTION}"),  # noqa: NPY002
    # a sequence without its batch: attention goes from example to example
    (layer(lambda: nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0)), "depends on the other examples of the batch"),
    (layer(lambda: nn.LazyLinear(8)), "own.weight of Layer is of a lazy layer: expected its sizes"),
    (layer(lambda: nn.Linear(8, 8).double()), f"own.weight of Layer is float64: expected float32; .*{FUNCTION}"),
    (hidden(lambda self, x: x if x.sum() > 0 else -x), f"cannot train as one stack .*{FUNCTION}"),
    (hidden(lambda self, x: x * x.mean().item()), rf"cannot train as one stack .*item.*{FUNCTION}"),
    (hidden(own_batch_norm), f"its answer to an example depends on the other examples of the batch.*{FUNCTION}"),
    (OneExampleLeft, "the last batch of an epoch has one example.*set another batch_size"),
    # what differs between seeds, but is no parameter
    (Unregistered, "seed 1 has loss .* registered layers"),
    (RandomBuffer, "seed 1 has loss .* registered layers"),
    (NumpyStart, "seed 1 has loss .* torch's generator initialises"),
    (LossOfWeights, "losses uses the parameter first.weight"),
    (LearnedWeight, f"losses uses the parameter weight, which is a seed's own only in forward.*{FUNCTION}"),
    (method(forward=lambda self, x: self.last(self.first(x.mul_(2)))), "forward changes its inputs in place"),
    (VariesUnits, "varied_in_a_stack of VariesUnits names units: expected learning_rate and dropout only"),
]


@pytest.mark.parametrize(("cls", "problem"), REFUSED)
def test_what_a_stack_cannot_train_is_refused_in_one_line(cls, problem, monkeypatch):
    monkeypatch.setitem(globals(), "Tried", cls)
    from trainables.registry import find_model

    find_model.cache_clear()
    np.random.seed(0)  # noqa: NPY002 - one of them draws from it
    with pytest.raises(ModelError, match=problem) as caught:
        check([cls.Settings(model=f"{__name__}:Tried")], None)
    find_model.cache_clear()
    assert re.match(rf"model {__name__}:Tried( \(test_try_stack.py, line \d+\))?: ", str(caught.value))
    assert "\n" not in str(caught.value)


class Attention(Own):
    def __init__(self, settings):
        super().__init__(settings)
        self.attention = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)

    def hidden(self, hidden):
        return self.attention(hidden.view(-1, 1, 8)).squeeze(1)


ACCEPTED = [
    Own,
    Regression,
    layer(lambda: nn.BatchNorm1d(8)),
    layer(lambda: nn.BatchNorm1d(8, affine=False, track_running_stats=False)),
    Attention,
    layer(lambda: weight_norm(nn.Linear(8, 8))),
    layer(lambda: nn.Linear(8, 8).requires_grad_(False)),
    drawing(lambda split, seed: Split(split.train, split.validation)),
    method(losses=lambda self, x, y: F.cross_entropy(x, y, reduction="none", label_smoothing=0.1)),
]


@pytest.mark.parametrize("cls", ACCEPTED)
def test_what_a_stack_can_train_is_not_refused(cls, monkeypatch):
    monkeypatch.setitem(globals(), "Tried", cls)
    from trainables.registry import find_model

    find_model.cache_clear()
    check([cls.Settings(model=f"{__name__}:Tried")], None)
    find_model.cache_clear()
