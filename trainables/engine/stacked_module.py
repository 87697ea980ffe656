"""K replicates of an ordinary ``nn.Module``, stacked by ``torch.func``."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainables.config import CellSettings
from trainables.engine.examples import Split


class StackedModule:
    """K replicates of a ``model.Module``.

    Raises ValueError if its state is more than parameters, or its dropout not the setting's.
    """

    def __init__(self, of: Callable[[Any], nn.Module], settings: CellSettings) -> None:
        self._of = of
        self._settings = settings
        self._module = self._built(0)
        self._name = type(self._module).__name__
        self.mask_units = 0
        for dropout in self._module.modules():
            if not isinstance(dropout, nn.Dropout):
                continue
            if dropout.p != (expected := getattr(settings, "dropout", 0.0)):
                raise ValueError(
                    f"nn.Dropout({dropout.p:g}) in {self._name}: write nn.Dropout(settings.dropout), which is "
                    f"{expected:g} here; to give all cells one value, set dropout in the grid's protocol"
                )
            # The module's own dropout would draw from a generator that all replicates share, so a
            # seed's numbers would depend on what else is in its stack.
            dropout.forward = self._drop  # type: ignore[method-assign]
        if hasattr(self._module, "figures"):
            self.figures = self._figures
        elif [metric.name for metric in settings.metrics] != ["accuracy"]:
            names = ", ".join(metric.name for metric in settings.metrics) or "none"
            raise ValueError(
                f"the metrics of {self._name} are {names}: expected a method figures(outputs, labels) that gives them"
            )
        self._masks: Tensor | None = None
        self._used = 0
        self._shapes = {name: value.shape for name, value in self._module.named_parameters()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]

    def _built(self, seed: int) -> nn.Module:
        # PyTorch's layers draw from its global generator, which is put back afterwards.
        digest = hashlib.blake2b(f"init/{seed}".encode(), digest_size=8).digest()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(digest, "little"))
            return self._of(self._settings)

    def load(self, settings: CellSettings, data_dir: str | None) -> Any:
        """Load with the module's own ``load``."""
        return self._of.load(settings, data_dir)  # type: ignore[attr-defined]

    def draw(self, pool: Any, settings: CellSettings, seed: int) -> Split:
        """Draw with the module's own ``draw``, and count its dropout units on two examples."""
        split: Split = self._of.draw(pool, settings, seed)  # type: ignore[attr-defined]
        self._try_out(split.train.inputs[:2])
        return split

    def _try_out(self, inputs: Tensor) -> None:
        buffers = {name: value.clone() for name, value in self._module.named_buffers()}
        self._used = 0
        with torch.no_grad():
            self._module(inputs)
        self.mask_units = self._used

        # A replicate is a row of parameters: a buffer that changes has no place there.
        for name, value in self._module.named_buffers():
            if not torch.equal(value, buffers[name]):
                raise ValueError(
                    f"{self._name} changes its buffer {name} in training: expected that only parameters change; use "
                    "a layer without running averages, such as nn.LayerNorm or nn.GroupNorm"
                )

    def initial(self, seeds: Sequence[int], device: torch.device) -> Tensor:
        """Return ``[K, P]``: what the module's own layers draw for each seed."""
        self._module.to(device)
        rows = []
        for seed in seeds:
            parameters = self._built(seed).parameters()
            rows.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        return torch.stack(rows).to(device)

    def forward(self, parameters: Tensor, inputs: Tensor, masks: Tensor | None) -> Any:
        """Return the outputs for inputs ``[K, B, ...]`` and masks ``[K, B * mask_units]``."""
        pieces = parameters.split(self._sizes, dim=1)
        named = {}
        for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True):
            named[name] = piece.unflatten(1, shape) if shape else piece.squeeze(1)

        def one(own: dict[str, Tensor], examples: Tensor, mask: Tensor | None) -> Any:
            self._masks = mask
            self._used = 0
            return functional_call(self._module, own, (examples,))

        try:
            return vmap(one, in_dims=(0, 0, None if masks is None else 0))(named, inputs, masks)
        finally:
            self._masks = None

    def _drop(self, input: Tensor) -> Tensor:
        """Multiply by the next part of the masks, in the place of a dropout layer."""
        if self._masks is None:
            self._used += input[0].numel()  # of one example, for mask_units
            return input
        count = input.numel()
        part = self._masks[self._used : self._used + count]
        self._used += count
        return input * part.view(input.shape)

    def losses(self, outputs: Any, labels: Tensor, varied: Mapping[str, Tensor]) -> Tensor:
        """Return the mean losses ``[K]``."""
        own = getattr(self._module, "losses", partial(F.cross_entropy, reduction="none"))
        losses: Tensor = vmap(own)(outputs, labels).mean(1)
        return losses

    def sums(self, outputs: Any, labels: Tensor) -> dict[str, Tensor]:
        """Count right answers."""
        own = getattr(self._module, "correct", lambda logits, labels: logits.argmax(-1) == labels)
        return {"accuracy": vmap(own)(outputs, labels).sum(1)}

    def _figures(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the module's own metrics of all examples of a part, each ``[K]`` (float64)."""
        names = [metric.name for metric in self._settings.metrics]
        figures: Callable[[Tensor, Tensor], Mapping[str, float]] = getattr(self._module, "figures")  # noqa: B009
        columns: dict[str, list[float]] = {name: [] for name in names}
        # One replicate after the other, as most metrics of other libraries take one prediction per example.
        for own, truth in zip(outputs.cpu(), labels.cpu(), strict=True):
            # Other libraries refuse the outputs of a training that has diverged.
            found = figures(own, truth) if own.isfinite().all() else dict.fromkeys(names, math.nan)
            if set(found) != set(names):
                raise ValueError(f"figures of {self._name} gives {sorted(found)}: expected {sorted(names)}")
            for name in names:
                columns[name].append(float(found[name]))
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
