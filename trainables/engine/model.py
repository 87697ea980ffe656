"""What a model of one's own is: what ``model: my_package.my_module:MyModel`` in a grid file names.

An ordinary ``nn.Module`` with ``Settings``, ``load`` and ``draw`` is enough (``Module``); modules.py stacks it. A model
that computes all replicates at once by the layers of stacked.py is faster (``Model``); classifier.py is one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from trainables.config import CellSettings
from trainables.engine.examples import Split


class Data(Protocol):
    """What every model says of its settings, a subclass of CellSettings, and of its examples."""

    Settings: type[CellSettings]

    @staticmethod
    def load(settings: Any, data_dir: str | None) -> Any:
        """Return what examples are drawn from; asked for once a cell, so cache what is slow."""

    @staticmethod
    def draw(pool: Any, settings: Any, seed: int) -> Split:
        """Draw a seed's examples by nothing but settings and seed, as ``examples.split_examples`` does."""


class Module(Data, Protocol):
    """An ``nn.Module``, built as ``MyModel(settings)``, whose dropout is that of ``settings.dropout``.

    Without the last two: the cross-entropy of logits ``[B, classes]``, and the largest logit.
    """

    def forward(self, inputs: Tensor) -> Any: ...
    def losses(self, outputs: Any, labels: Tensor) -> Tensor: ...  # of each example, [B]
    def correct(self, outputs: Any, labels: Tensor) -> Tensor: ...  # each example, [B] bool


class Right(NamedTuple):
    """Right answers ``[K]`` of B examples on the target; where there are any, on two digits, and by probability."""

    target: Tensor
    digits: Tensor | None = None
    target_by_probability: Tensor | None = None


class Model(Data, Protocol):
    """K replicates at once, built as ``MyModel(settings)``; parameters are ``[K, P]``, examples ``[K, B, ...]``."""

    mask_units: int  # of dropout, for an example; masks are [K, B * mask_units]

    def initial(self, seeds: Sequence[int], device: torch.device) -> Tensor: ...  # parameters
    def forward(self, parameters: Tensor, inputs: Tensor, masks: Tensor | None) -> Any: ...
    def losses(self, outputs: Any, labels: Tensor, aux_weights: Tensor) -> Tensor: ...  # means, [K]
    def correct(self, outputs: Any, labels: Tensor) -> Right: ...
