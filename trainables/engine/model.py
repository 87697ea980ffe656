"""What a model is: what ``model: my_package.my_module:MyModel`` in a grid file names.

An ordinary ``nn.Module`` with ``Settings``, ``load`` and ``draw`` is enough (``Module``);
stacked_module.py stacks it. A model that computes all replicates at once by the functions
of layers.py is faster (``Model``); digits/classifier.py is one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from trainables.config import CellSettings
from trainables.engine.examples import Presentation, Shuffled, Split, StackedExamples


class Data(Protocol):
    """What every model has: its settings, a subclass of CellSettings, and its examples."""

    Settings: type[CellSettings]

    @staticmethod
    def load(settings: Any, data_dir: str | None) -> Any:
        """Return what examples are drawn from. Called once per cell, so cache what is slow."""

    @staticmethod
    def draw(pool: Any, settings: Any, seed: int) -> Split:
        """Draw a seed's examples from settings and seed only, as ``split_examples`` does."""


class Module(Data, Protocol):
    """An ``nn.Module``, built as ``MyModel(settings)``, with dropout of ``settings.dropout``.

    Parameters with ``requires_grad`` False stay as they are. Batch norm uses the moments of the batch
    in training, and those of all examples to train on in evaluation.

    ``losses`` and ``correct`` may be left out. Then the loss is the cross-entropy of logits
    ``[B, classes]``, and the largest logit is the answer. A module whose settings name other metrics
    than accuracy has ``figures`` instead of ``correct``: each metric by its name, of one replicate's
    outputs and labels of a whole part.
    """

    def forward(self, inputs: Tensor) -> Any: ...
    def losses(self, outputs: Any, labels: Tensor) -> Tensor: ...  # of each example, [B]
    def correct(self, outputs: Any, labels: Tensor) -> Tensor: ...  # each example, [B] bool
    def figures(self, outputs: Any, labels: Tensor) -> Mapping[str, float]: ...  # instead of correct


class Model(Data, Protocol):
    """K replicates at once, built as ``MyModel(settings)``, on examples ``[K, B, ...]``.

    ``losses`` are means over the examples, and ``sums`` are sums over them by the metric's name.
    ``varied`` has the settings in which replicates differ, each ``[K]`` (float64), but not learning
    rate and dropout. A model may also offer ``figures`` instead of ``sums``, as a Module does but for
    all replicates, the methods that ``presentation_of``, ``evaluator_of`` and ``own_step_of`` look
    for, and ``frozen``: which columns of the parameters stay as they are, ``[P]`` (bool).
    """

    mask_units: int  # dropout units of one example; masks are [K, B * mask_units]

    def initial(self, seeds: Sequence[int], device: torch.device) -> Tensor: ...  # [K, P]
    def forward(self, parameters: Tensor, inputs: Tensor, masks: Tensor | None) -> Any: ...
    def losses(self, outputs: Any, labels: Tensor, varied: Mapping[str, Tensor]) -> Tensor: ...  # [K]
    def sums(self, outputs: Any, labels: Tensor) -> Mapping[str, Tensor]: ...  # each [K]


def presentation_of(model: Model, seeds: Sequence[int], device: torch.device) -> Presentation:
    """Return how training shows examples: ``model.presentation(seeds, device)``, or shuffled."""
    offered: Callable[..., Presentation] | None = getattr(model, "presentation", None)
    return Shuffled(seeds, device) if offered is None else offered(seeds, device)


@torch.no_grad()
def evaluator_of(model: Model, parameters: Tensor, train: StackedExamples) -> Callable[[Tensor], Any]:
    """Return the model as it is evaluated: a function of inputs ``[K, B, ...]``.

    It is ``model.evaluator(parameters, train)`` if the model offers that, else ``forward``.
    """
    # Models with batch normalisation need their training examples to be evaluated.
    offered: Callable[..., Callable[[Tensor], Any]] | None = getattr(model, "evaluator", None)
    if offered is None:
        return lambda inputs: model.forward(parameters, inputs, None)
    return offered(parameters, train)


def own_step_of(model: Model, parameters: Tensor) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Return ``model.own_step(parameters)``: the model's way to losses ``[K]`` and gradients ``[K, P]``, or None.

    It is called with parameters ``[K, P]``, inputs, labels, keys of the masks ``[K, 2]``, dropout
    ``[K]`` and ``varied``. None, and a model that offers none, mean ``forward``, ``losses`` and autograd.
    """
    offered: Callable[[Tensor], Callable[..., tuple[Tensor, Tensor]] | None] | None = getattr(model, "own_step", None)
    return None if offered is None else offered(parameters)
