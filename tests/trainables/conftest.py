import pytest
import torch

from trainables.digits.mnist import Digits, Pool, load_pool
from trainables.digits.settings import CellConfig


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The tensors here are tiny: more threads only get in each other's way, and in that of other test workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def pool():
    return load_pool("mnist5k")


@pytest.fixture(scope="session")
def small_cell():
    """Make a cell of few pairs: its last batch of an epoch and its last chunk of an evaluation are partial ones."""

    def make(**settings):
        return CellConfig(**{"train_pairs": 310, "test_pairs": 250, "max_epochs": 3, **settings})

    return make


@pytest.fixture(scope="session")
def double_pool(pool):
    return Pool(Digits(pool.train.images.double(), pool.train.labels), None)
