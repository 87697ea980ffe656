"""Gradient boosting with scikit-learn: what do deeper trees and random subsamples each buy?

The data come with scikit-learn: ten measures of 442 people with diabetes, and how far the disease
had progressed a year later. This is a regression: the smaller the error, the better. An epoch adds
a few trees (``warm_start``), so that early stopping can end bad settings. To train it, run in this
folder: study run --grid boosting.yaml
"""

from collections.abc import Iterator
from functools import cache

from numpy.typing import NDArray
from pydantic import Field
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

from trainables import FunctionSettings, Metric


class Settings(FunctionSettings):
    """What a grid can vary, beside the number of epochs."""

    metrics = (Metric("rmse", "min", "points"), Metric("r2"))

    max_depth: int = Field(3, ge=1, description="Depth of each tree.")
    subsample: float = Field(1.0, gt=0, le=1, description="Share of the examples that a tree is grown on.")
    learning_rate: float = Field(0.1, gt=0, description="Weight of each tree.")
    trees_per_epoch: int = Field(5, ge=1, description="Trees that an epoch adds.")


def train(settings: Settings, seed: int) -> Iterator[dict[str, float]]:
    """Grow the trees of one model and yield its figures once per epoch."""
    parts = split(seed)
    model = GradientBoostingRegressor(
        max_depth=settings.max_depth,
        subsample=settings.subsample,
        learning_rate=settings.learning_rate,
        random_state=seed,
        warm_start=True,
    )
    for epoch in range(1, settings.max_epochs + 1):
        model.n_estimators = epoch * settings.trees_per_epoch
        model.fit(*parts["train"])
        figures = {}
        for part, (inputs, expected) in parts.items():
            predicted = model.predict(inputs)
            figures[f"{part}_rmse"] = root_mean_squared_error(expected, predicted)
            figures[f"{part}_r2"] = r2_score(expected, predicted)
        yield figures


@cache
def split(seed: int) -> dict[str, tuple[NDArray, NDArray]]:
    """Divide the people differently for each seed, and in the same way for all cells."""
    inputs, progression = load_diabetes(return_X_y=True)
    train, rest, train_y, rest_y = train_test_split(inputs, progression, test_size=0.5, random_state=seed)
    validation, test, validation_y, test_y = train_test_split(rest, rest_y, test_size=0.6, random_state=seed)
    return {"train": (train, train_y), "val": (validation, validation_y), "test": (test, test_y)}
