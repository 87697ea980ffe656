"""A model of one's own: what do standardised inputs and dropout each buy on the Wisconsin breast cancer data?

The data (569 tumours, 30 measures each, benign or malignant) come with scikit-learn, and the network is an ordinary
``nn.Module``. Run it in this folder: study run --grid breast_cancer.yaml
"""

from functools import cache

import torch
from pydantic import Field
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from trainables.config import CellSettings
from trainables.engine.examples import Examples, Split, split_examples


class BreastCancer(nn.Module):
    """Two hidden layers, and a logit for each of the two classes."""

    class Settings(CellSettings):
        """What a grid can vary, beside the settings that every model has."""

        standardise: bool = Field(True, description="Whether each measure has mean 0 and deviation 1 in training.")
        units: int = Field(32, ge=1, description="Units of each hidden layer.")
        dropout: float = Field(0.0, ge=0, lt=1, description="Probability with which a hidden unit is dropped.")
        validation_share: float = Field(0.2, gt=0, lt=1, description="Part of the tumours that validates.")
        test_share: float = Field(0.3, gt=0, lt=1, description="Part of the tumours that tests.")

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        n, p = settings.units, settings.dropout
        hidden = [nn.Linear(30, n), nn.ReLU(), nn.Dropout(p), nn.Linear(n, n), nn.ReLU(), nn.Dropout(p)]
        self.layers = nn.Sequential(*hidden, nn.Linear(n, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map measures ``[B, 30]`` to logits ``[B, 2]``."""
        logits: Tensor = self.layers(inputs)
        return logits

    @staticmethod
    @cache
    def load(settings: Settings, data_dir: str | None) -> Examples:
        """Return all tumours."""
        inputs, labels = load_breast_cancer(return_X_y=True)
        return Examples(torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels))

    @staticmethod
    def draw(pool: Examples, settings: Settings, seed: int) -> Split:
        """Divide the tumours anew for each seed; what standardises them is what is trained on."""
        split = split_examples(pool.inputs, pool.labels, seed, settings.validation_share, settings.test_share)
        if not settings.standardise:
            return split
        mean, deviation = split.train.inputs.mean(0), split.train.inputs.std(0)
        parts = (split.train, split.validation, split.test)
        return Split(*(Examples((part.inputs - mean) / deviation, part.labels) for part in parts))
