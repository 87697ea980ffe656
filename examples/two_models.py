"""Two models with different settings in one grid: when few people are known, does boosting or a network predict better?

The data are those of ``boosting.py``. Both models share two settings, which can be factors; each has
one more of its own. To train them, run in this folder: study run --grid two_models.yaml
"""

from collections.abc import Callable, Iterator

from numpy.typing import NDArray
from pydantic import Field
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from trainables import FunctionSettings, Metric

Parts = dict[str, tuple[NDArray, NDArray]]


class Shared(FunctionSettings):
    """The settings that both models have."""

    metrics = (Metric("rmse", "min", "points"),)

    train_people: int = Field(200, ge=1, le=200, description="People to train on.")
    learning_rate: float = Field(0.03, gt=0, description="Weight of each tree, or the network's learning rate.")


class BoostingSettings(Shared):
    """The settings of boosting."""

    max_depth: int = Field(1, ge=1, description="Depth of each tree.")


class NetworkSettings(Shared):
    """The settings of the network."""

    units: int = Field(32, ge=1, description="Units of the hidden layer.")


def boosting(settings: BoostingSettings, seed: int) -> Iterator[dict[str, float]]:
    """Add five trees in each epoch."""
    parts = split(settings.train_people, seed)
    model = GradientBoostingRegressor(
        learning_rate=settings.learning_rate, max_depth=settings.max_depth, random_state=seed, warm_start=True
    )
    for epoch in range(1, settings.max_epochs + 1):
        model.n_estimators = 5 * epoch
        model.fit(*parts["train"])
        yield errors(model.predict, parts)


def network(settings: NetworkSettings, seed: int) -> Iterator[dict[str, float]]:
    """Train a network with one hidden layer."""
    parts = split(settings.train_people, seed)
    inputs, expected = parts["train"]
    mean, deviation = expected.mean(), expected.std()
    model = MLPRegressor(
        hidden_layer_sizes=(settings.units,),
        learning_rate_init=settings.learning_rate,
        batch_size=20,
        random_state=seed,
    )
    for _ in range(settings.max_epochs):
        model.partial_fit(inputs, (expected - mean) / deviation)
        yield errors(lambda people: model.predict(people) * deviation + mean, parts)


def errors(predict: Callable[[NDArray], NDArray], parts: Parts) -> dict[str, float]:
    """Return the error on each part of the data."""
    return {
        f"{part}_rmse": root_mean_squared_error(expected, predict(inputs)) for part, (inputs, expected) in parts.items()
    }


def split(train_people: int, seed: int) -> Parts:
    """Divide the people differently for each seed; fewer to train on are a part of more."""
    inputs, progression = load_diabetes(return_X_y=True)
    train, rest, train_y, rest_y = train_test_split(inputs, progression, train_size=200, random_state=seed)
    validation, test, validation_y, test_y = train_test_split(rest, rest_y, test_size=0.6, random_state=seed)
    train, train_y = train[:train_people], train_y[:train_people]
    scale = StandardScaler().fit(train).transform
    return {"train": (scale(train), train_y), "val": (scale(validation), validation_y), "test": (scale(test), test_y)}
