import pytest

from tests.trainables.functions.functions import Settings
from trainables.functions.function_training import FunctionTraining
from trainables.functions.seed_training import Limits, SeedTraining


@pytest.fixture
def start(monkeypatch):
    """Start the seeds of a function; all are closed at the end."""
    started = []

    def make(function, seeds=(0, 1), max_epochs=4, epoch_limit_s=60.0, **settings):
        cell = Settings(model=f"mine:{function.__name__}", max_epochs=max_epochs, **settings)
        limits = Limits("val_rmse", epoch_limit_s)
        rows = {(cell.cell_id, seed): SeedTraining(function, cell, seed, limits) for seed in seeds}
        started.append(FunctionTraining(rows))
        return started[-1]

    yield make
    for training in started:
        training.close()
