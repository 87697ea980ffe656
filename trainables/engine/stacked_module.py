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
from trainables.engine.examples import MAKE_IT_A_FUNCTION, Split, StackedExamples, check_split

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Moments = list[tuple[Tensor, Tensor]]  # means and variances [C], or [K, C], of each normalisation in its order


class OwnLayers:
    """Does the work of a module's dropout and batch normalisation.

    The module's own dropout would draw from a generator that all replicates share, so a seed's
    numbers would depend on what else is in its stack. Its batch normalisation would change
    buffers, which a replicate does not have (docs/decisions/0009).
    """

    def __init__(self, module: nn.Module, dropout: float) -> None:
        self.masks: Tensor | None = None
        self.moments: Moments | None = None
        self.used = 0  # values of the masks
        self._normalised = 0
        self.norms = 0
        name = type(module).__name__
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                if layer.p != dropout:
                    raise ValueError(
                        f"nn.Dropout({layer.p:g}) in {name}: write nn.Dropout(settings.dropout), which is "
                        f"{dropout:g} here; to give all cells one value, set dropout in the grid's protocol"
                    )
                layer.forward = self._drop  # type: ignore[method-assign]
            # One that the module holds in evaluation mode is frozen, with the moments that it has.
            elif isinstance(layer, BatchNorm) and layer.training:
                layer.forward = partial(self._normalise, layer)  # type: ignore[method-assign]
                self.norms += 1

    def begin(self, masks: Tensor | None, moments: Moments | None) -> None:
        """Prepare a pass: ``masks`` are ``[B * units]`` or None, ``moments`` those of an evaluation.

        An empty list of moments is filled with those of the batch.
        """
        self.masks, self.moments = masks, moments
        self.used = self._normalised = 0

    def _drop(self, input: Tensor) -> Tensor:
        """Multiply by the next part of the masks, in the place of a dropout layer."""
        count = input.numel()
        self.used += count
        if self.masks is None:
            return input
        return input * self.masks[self.used - count : self.used].view(input.shape)

    def _normalise(self, layer: BatchNorm, input: Tensor) -> Tensor:
        """Normalise by the batch in training, else by the moments, in the place of a layer."""
        normalise = partial(F.batch_norm, weight=layer.weight, bias=layer.bias, eps=layer.eps)
        if self.moments is None:
            return normalise(input, None, None, training=True)
        measured = self._normalised == len(self.moments)
        if measured:
            self.moments.append((input.new_zeros(layer.num_features), input.new_ones(layer.num_features)))
        mean, variance = self.moments[self._normalised]
        self._normalised += 1
        # With momentum 1, PyTorch's running moments become those of this batch.
        return normalise(input, mean, variance, training=measured, momentum=1.0)


class StackedModule:
    """K replicates of a ``model.Module``.

    Raises ValueError if its state is more than float32 parameters, or its dropout not the setting's.
    """

    def __init__(self, of: Callable[[Any], nn.Module], settings: CellSettings) -> None:
        self._of = of
        self._settings = settings
        # The fast path of attention works for one replicate after the other.
        torch.backends.mha.set_fastpath_enabled(False)
        self.module = self.built(0).train()  # its own parameters belong to no replicate
        self._name = type(self.module).__name__
        parameters = dict(self.module.named_parameters())
        _check_settings(self._name, settings, hasattr(self.module, "figures"))
        _check_parameters(self._name, parameters)
        self._layers = OwnLayers(self.module, getattr(settings, "dropout", 0.0))
        self._counted, self.mask_units = False, 0
        if hasattr(self.module, "figures"):
            self.figures = self._figures
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self._frozen = {name for name, value in parameters.items() if not value.requires_grad}
        self.frozen: Tensor | None = None  # which columns of the parameters stay as they are, [P] bool
        if self._frozen:
            columns = [torch.full((value.numel(),), name in self._frozen) for name, value in parameters.items()]
            self.frozen = torch.cat(columns)

    def built(self, seed: int) -> nn.Module:
        """Return the ordinary module as a seed begins with it."""
        # PyTorch's layers draw from its global generator, which is put back afterwards.
        digest = hashlib.blake2b(f"init/{seed}".encode(), digest_size=8).digest()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(digest, "little"))
            return self._of(self._settings)

    def load(self, settings: CellSettings, data_dir: str | None) -> Any:
        """Load with the module's own ``load``."""
        return self._of.load(settings, data_dir)  # type: ignore[attr-defined]

    def draw(self, pool: Any, settings: CellSettings, seed: int) -> Split:
        """Draw with the module's own ``draw``; the first time, count the dropout units."""
        split: Split = self._of.draw(pool, settings, seed)  # type: ignore[attr-defined]
        check_split(split)
        if not self._counted:
            self._count_units(split.train.inputs[:2].clone())
            self._counted = True
        return split

    def _count_units(self, inputs: Tensor) -> None:
        buffers = {name: value.clone() for name, value in self.module.named_buffers()}
        device = next(self.module.parameters()).device
        with torch.no_grad():
            self._layers.begin(None, None)
            self.module(inputs.to(device))
        self.mask_units = self._layers.used // len(inputs)

        # A replicate is a row of parameters: a buffer that changes has no place there.
        for name, value in self.module.named_buffers():
            if not torch.equal(value, buffers[name]):
                raise ValueError(
                    f"{self._name} changes its buffer {name} in training: expected that only parameters change; use "
                    f"nn.BatchNorm, nn.LayerNorm or nn.GroupNorm, or {MAKE_IT_A_FUNCTION}"
                )

    def initial(self, seeds: Sequence[int], device: torch.device) -> Tensor:
        """Return ``[K, P]``: what the module's own layers draw for each seed."""
        self.module.to(device)
        rows = []
        for seed in seeds:
            parameters = self.built(seed).parameters()
            rows.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        return torch.stack(rows).to(device)

    def forward(self, parameters: Tensor, inputs: Tensor, masks: Tensor | None) -> Any:
        """Return training's outputs for inputs ``[K, B, ...]``, masks ``[K, B * mask_units]``."""
        return self._outputs(parameters, inputs, masks, None)

    def evaluator(self, parameters: Tensor, train: StackedExamples) -> Callable[[Tensor], Any]:
        """Return the module in evaluation, as ``model.evaluator_of`` does.

        Batch norm uses the moments of all examples to train on, so no answer depends on a
        neighbour. They are measured for one replicate after the other, to spare memory.
        """
        if not self._layers.norms:
            return lambda inputs: self._outputs(parameters, inputs, None, [])
        self.module.eval()
        measured: list[Moments] = []
        for own, inputs in zip(parameters, train.inputs, strict=True):
            measured.append([])
            self._layers.begin(None, measured[-1])
            functional_call(self.module, self._named(own), (inputs,))
        moments = []
        for layer in zip(*measured, strict=True):
            means, variances = zip(*layer, strict=True)
            moments.append((torch.stack(means), torch.stack(variances)))
        return lambda inputs: self._outputs(parameters, inputs, None, moments)

    def _named(self, parameters: Tensor) -> dict[str, Tensor]:
        """View ``[..., P]`` as the module's parameters by name, each ``[..., *shape]``."""
        named = {}
        for (name, shape), piece in zip(self._shapes.items(), parameters.split(self._sizes, dim=-1), strict=True):
            viewed = piece.unflatten(-1, shape) if shape else piece.squeeze(-1)
            named[name] = viewed.detach() if name in self._frozen else viewed
        return named

    def _outputs(self, parameters: Tensor, inputs: Tensor, masks: Tensor | None, moments: Moments | None) -> Any:
        training = moments is None
        if self.module.training != training:
            self.module.train(training)

        def one(own: dict[str, Tensor], examples: Tensor, mask: Tensor | None, of_norms: Moments | None) -> Any:
            self._layers.begin(mask, of_norms)
            return functional_call(self.module, own, (examples,))

        in_dims = (0, 0, None if masks is None else 0, 0 if moments else None)
        try:
            return vmap(one, in_dims=in_dims)(self._named(parameters), inputs, masks, moments)
        finally:
            self._layers.begin(None, None)

    def losses(self, outputs: Any, labels: Tensor, varied: Mapping[str, Tensor]) -> Tensor:
        """Return the mean losses ``[K]``."""
        own = getattr(self.module, "losses", partial(F.cross_entropy, reduction="none"))
        losses = vmap(own)(outputs, labels)
        _check_one_for_each("losses", self._name, losses, labels)
        mean: Tensor = losses.mean(1)
        return mean

    def sums(self, outputs: Any, labels: Tensor) -> dict[str, Tensor]:
        """Count right answers."""
        own = getattr(self.module, "correct", lambda logits, labels: logits.argmax(-1) == labels)
        right = vmap(own)(outputs, labels)
        _check_one_for_each("correct", self._name, right, labels)
        return {"accuracy": right.sum(1)}

    def _figures(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the module's own metrics of all examples of a part, each ``[K]`` (float64)."""
        names = [metric.name for metric in self._settings.metrics]
        figures: Callable[[Tensor, Tensor], Mapping[str, float]] = getattr(self.module, "figures")  # noqa: B009
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


def _check_settings(name: str, settings: CellSettings, has_figures: bool) -> None:
    metrics = [metric.name for metric in settings.metrics]
    if metrics != ["accuracy"] and not has_figures:
        raise ValueError(
            f"the metrics of {name} are {', '.join(metrics) or 'none'}: expected a method figures(outputs, labels) "
            "that gives them"
        )
    # All replicates are one module with other parameters: nothing else can differ.
    for setting in settings.varied_in_a_stack:
        if setting not in ("learning_rate", "dropout"):
            raise ValueError(
                f"varied_in_a_stack of {name} names {setting}: expected learning_rate and dropout only, since "
                "the cells of a stack share one nn.Module"
            )


def _check_parameters(name: str, parameters: Mapping[str, nn.Parameter]) -> None:
    if not parameters:
        raise ValueError(f"{name} has no parameters: expected layers that are its attributes, or in an nn.ModuleList")
    for parameter, value in parameters.items():
        if isinstance(value, nn.UninitializedParameter):
            raise ValueError(
                f"{parameter} of {name} is of a lazy layer: expected its sizes, as in nn.Linear(inputs, outputs)"
            )
        if value.dtype != torch.float32:
            raise ValueError(
                f"{parameter} of {name} is {str(value.dtype).removeprefix('torch.')}: expected float32; "
                f"use .float(), or {MAKE_IT_A_FUNCTION}"
            )


def _check_one_for_each(what: str, name: str, found: Any, labels: Tensor) -> None:
    if not isinstance(found, Tensor) or found.shape != labels.shape[:2]:
        shape = list(found.shape[1:]) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"{what} of {name} gives {shape} for {labels.shape[1]} examples: expected one value for each, "
            f"[{labels.shape[1]}], neither their mean nor their sum"
        )
