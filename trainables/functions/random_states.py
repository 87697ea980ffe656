"""The global random generators of Python, NumPy and PyTorch, one set of states for each seed.

PyTorch is imported before a function runs: one that imports it only in the course of a
training must find its generators seeded.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_random_states() -> dict[str, Any]:
    """Return the states of the global generators, which ``torch.save`` can save and load.

    CUDA's are among them if it is in use. A function that continues from its own checkpoint
    saves these there, and gives them to ``set_random_states`` when it goes on.
    """
    name, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the generator that users' code draws from
    keys = np.asarray(words).tolist()
    states = {
        "python": random.getstate(),
        "numpy": (name, keys, *rest),
        "torch": torch.get_rng_state(),
    }
    return states | ({"cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_initialized() else {})


def set_random_states(states: Mapping[str, Any]) -> None:
    """Let the global generators go on from what ``get_random_states`` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


class RandomStates:
    """The states of one seed, which has the same bits alone and among others.

    They begin as if the function itself had begun with ``random.seed(seed)``,
    ``numpy.random.seed(seed)`` and ``torch.manual_seed(seed)``.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._states: dict[str, Any] | None = None
        self._grad, self._inference = True, False

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Put these states in force; afterwards keep them, and put the others back."""
        others = get_random_states()
        if self._states is None:
            _seed_all(self._seed)
        else:
            set_random_states(self._states)
            if "cuda" not in self._states:  # another seed may have seeded it
                torch.cuda.manual_seed_all(self._seed)
        # A yield inside torch.no_grad() leaves gradients off, for this seed only.
        try:
            with torch.inference_mode(self._inference), torch.set_grad_enabled(self._grad):
                try:
                    yield
                finally:
                    self._grad, self._inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        finally:
            self._states = get_random_states()
            set_random_states(others)
