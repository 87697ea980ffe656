"""What a CUDA graph asks of a training step, seen on a CPU. The capture needs a GPU, and is tested where one is."""

import gc

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.engine.steps import WARM_UP, GraphedStep
from trainables.registry import start_training

WAITING = {"aten._local_scalar_dense", "aten.is_nonzero", "aten.nonzero", "aten.equal", "aten.item"}


class Asked(TorchDispatchMode):
    """Notes the operations for which the host waits: those that bring a value, or a shape that depends on one."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removesuffix(".default")
        if name.rpartition(".")[0] in WAITING or name in WAITING:
            self.waited.append(name)
        return func(*args, **(kwargs or {}))


def state_of(training):
    """The tensors that steps read and change, by name."""
    stack, steps = training.stack, training._steps
    adam = {f"adam/{name}": value for name, value in stack.optimiser.state.items()}
    own = {name: value for name, value in vars(steps).items() if isinstance(value, torch.Tensor)}
    return adam | own | {"parameters": stack.parameters, "unit_step": stack.optimiser.unit_step}


@pytest.mark.parametrize("dropout", [0, 0.5])
def test_a_step_waits_for_nothing_and_leaves_its_state_in_place(dropout, small_cell, pool, monkeypatch):
    # Adam's step count is on the CPU there, and read there: as on a GPU, where it is the kernel that reads it.
    cells = {small_cell(dropout=dropout, aux_weight=weight): (1, 2) for weight in (0, 1)}
    training = start_training(cells, pool)
    training._steps._own_step = None  # the way of a GPU
    next(training)
    before = {name: (value.data_ptr(), value.clone()) for name, value in state_of(training).items()}
    batch = torch.arange(100).expand(4, 100)
    with Asked() as asked:
        monkeypatch.setattr("trainables.engine.optimiser.adam", lambda *arguments, **settings: None)
        training._steps._train_step(batch)
    assert asked.waited == []
    monkeypatch.undo()
    training._steps._train_step(batch)
    after = state_of(training)
    assert {name: value.data_ptr() for name, value in after.items()} == {
        n: pointer for n, (pointer, _) in before.items()
    }
    changed = {name for name, (_, value) in before.items() if not torch.equal(value, after[name])}
    assert {"parameters", "_loss_sums", "_step", "unit_step", "adam/step", "adam/exp_avg"} <= changed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replayed_steps_are_those_taken_one_by_one(small_cell, pool):
    cells = {small_cell(dropout=0.5, aux_weight=1): (1, 2, 3)}
    graphed, plain = (start_training(cells, pool, "cuda") for _ in range(2))
    plain._steps._graphed = None
    for _ in range(3):
        for one, other in zip(next(graphed), next(plain), strict=True):
            assert one.figure("train_loss") == other.figure("train_loss")
            assert one.figure("val_loss") == other.figure("val_loss")
    assert torch.equal(graphed.stack.parameters, plain.stack.parameters)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_python_collects_no_garbage_while_a_step_is_captured():
    """An earlier stack's graph was freed there once, and CUDA ended the capture."""
    seen = []
    take, batch = GraphedStep(), torch.zeros(2, 3, device="cuda")

    def step(batch):
        batch += 1
        seen.append((torch.cuda.is_current_stream_capturing(), gc.isenabled()))

    for _ in range(WARM_UP + 2):
        take(step, batch)
    assert seen == [(False, True)] * WARM_UP + [(True, False)]
    assert gc.isenabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_stack_that_is_left_frees_its_memory_at_once(small_cell, pool):
    def left():
        next(start_training({small_cell(): (1, 2)}, pool, "cuda"))
        return torch.cuda.memory_allocated()

    gc.collect()
    gc.disable()
    try:
        assert left() == left()  # libraries keep what they took the first time
    finally:
        gc.enable()
