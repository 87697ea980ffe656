"""What a GPU would refuse, seen without one: on PyTorch's device "meta", which computes shapes and no values."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from study.grid.load import load_grid
from study.grid.shipped import grid_names
from trainables.engine.device import compute_alike
from trainables.registry import find_model, start_training

EXAMPLES = Path(__file__).parents[3] / "examples"
# They take tensors of two devices, on a GPU too.
BETWEEN_DEVICES = {"aten.copy_.default", "aten._to_copy.default", "aten.index.Tensor", "aten.index_put_.default"}


class ActsAsGpu(TorchDispatchMode):
    """Refuses what mixes devices, and gives ones where a value is brought to the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = {tensor.device.type for tensor in tensors if tensor.dim()}
        if len(there) > 1 and str(func) not in BETWEEN_DEVICES:
            raise RuntimeError(f"{func} of tensors on {sorted(there)}")
        if tensors and tensors[0].is_meta:
            if str(func) == "aten._local_scalar_dense.default":
                return True
            if str(func) == "aten._to_copy.default" and torch.device(kwargs.get("device") or "meta").type == "cpu":
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)


def kinds(grids):
    """A short cell of each kind in the grids: of those that differ in more than numbers."""
    found = {}
    for cell in chain.from_iterable(load_grid(grid).cells() for grid in grids):
        changed = {"max_epochs": 2, "dropout": 0.5, "data": "mnist5k", "train_pairs": 20, "test_pairs": 10}
        changed |= {"batch_size": 10, "stop_patience": 9, "plateau_patience": 9}
        own = {name: value for name, value in changed.items() if name in type(cell).model_fields}
        cell = cell.model_copy(update=own)
        found.setdefault(cell.stack_key, cell)
    return list(found.values())


@pytest.mark.long
@pytest.mark.parametrize("grids", [grid_names(), ["breast_cancer.yaml"]], ids=["shipped", "example"])
def test_training_evaluation_ended_rows_and_resuming_stay_on_one_device(grids, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(EXAMPLES)
    for cell in kinds(grids):
        pool = find_model(cell.model).load(cell, None)
        with ActsAsGpu():
            training = start_training({cell: (0, 1, 2)}, pool, "meta", 0.5)
            next(training)
            training.stack.running[1] = False  # as a row that has ended
            resumed = start_training({cell: (0, 1, 2)}, pool, "meta", 0.5)
            resumed.load_state_dict(training.state_dict())
            records = next(resumed)
        assert [(record.seed, record.status) for record in records] == [(0, "completed"), (2, "completed")]
        assert resumed.rows == ()


def test_a_gpu_would_compute_in_float32_and_the_same_each_time(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    compute_alike()
    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic
