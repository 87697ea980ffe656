"""Your own model: what do standardised inputs and dropout each buy on the Wisconsin breast cancer data?

The data come with scikit-learn: 569 tumours with 30 measures each, benign or malignant. The network is an ordinary
``nn.Module``. To train it, run in this folder: study run --grid breast_cancer.yaml
"""

from functools import cache

import torch
from pydantic import Field
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from trainables import CellSettings, Draw, Examples, Split, split_examples


class BreastCancer(nn.Module):
    """A network with two hidden layers, and a logit for each of the two classes."""

    class Settings(CellSettings):
        """What a grid can vary, beside the settings that every model has."""

        standardise: bool = Field(
            True, description="Whether each measure is scaled to mean 0 and standard deviation 1 in training."
        )
        units: int = Field(32, ge=1, description="Units of each hidden layer.")
        dropout: float = Field(0.0, ge=0, lt=1, description="Probability with which a hidden unit is dropped.")
        validation_share: float = Field(
            0.2, gt=0, lt=1, description="Share of the tumours that is kept for validation."
        )
        test_share: float = Field(0.3, gt=0, lt=1, description="Share of the tumours that is kept for the test.")

        @property
        def data_draw(self) -> Draw:
            """Each seed splits the same tumours."""
            return Draw("resplit", self.test_share / (1 - self.validation_share - self.test_share))

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(30, settings.units),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.units, settings.units),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.units, 2),
        )

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
        """Divide the tumours differently for each seed, and standardise them."""
        split = split_examples(pool.inputs, pool.labels, seed, settings.validation_share, settings.test_share)
        if not settings.standardise:
            return split
        # Mean and deviation are those of the training examples: the test must not help to train.
        mean = split.train.inputs.mean(0)
        deviation = split.train.inputs.std(0)
        standardised = []
        for part in (split.train, split.validation, split.test):
            standardised.append(Examples((part.inputs - mean) / deviation, part.labels))
        return Split(*standardised)
