"""CellSettings: the settings that cells of every model have, frozen and validated."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# A number, without a negative zero: -0.0 + 0.0 is 0.0.
Number = Annotated[float, AfterValidator(lambda value: value + 0.0), Field(allow_inf_nan=False)]


class TrainableError(Exception):
    """A model or data that the user has to correct: one line with what is wrong and a fix."""


class CellSettings(BaseModel):
    """One combination of all factors, with the protocol by which it is trained.

    Your own model adds settings in a subclass. Seeds are replicates of a cell, not a setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    varied_in_a_stack: ClassVar[tuple[str, ...]] = ("learning_rate",)
    """Settings, all numbers, in which the replicates of a stack can differ."""
    came_later: ClassVar[Mapping[str, Any]] = {}
    """Settings that were added later, with their defaults: cells with these keep their id."""
    stored_as_columns: ClassVar[tuple[str, ...]] = ()
    """Settings that have their own columns in the store, beside those of every model."""

    model: str = Field(description="The network: package.module:Class of your own model.")
    learning_rate: Number = Field(1e-3, gt=0, description="Adam's learning rate at the start.")
    batch_size: int = Field(100, ge=1, description="Examples in one training step; for the built-in networks, pairs.")
    max_epochs: int = Field(80, ge=1, description="The largest number of epochs of a training.")
    plateau_factor: Number = Field(
        0.2,
        gt=0,
        lt=1,
        description="The learning rate is multiplied by this on a plateau of the validation loss.",
    )
    plateau_patience: int = Field(
        7, ge=0, description="A plateau is more epochs than this without a better validation loss."
    )
    stop_patience: int = Field(
        10, ge=1, description="A training ends after this many epochs without a better validation loss."
    )

    @property
    def cell_id(self) -> str:
        """Twelve hex digits of the SHA-256 of the canonical JSON of the settings."""
        return _cell_id(self)

    @property
    def has_shipped_rate(self) -> bool:
        """Whether a training takes about as long as those whose rate is in the package."""
        return False

    @property
    def study_suffix(self) -> str:
        """What a study's default name adds to its grid's: the data source, if there are several."""
        data = getattr(self, "data", None)
        return "" if data is None else f"-{data}"

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """All settings but ``varied_in_a_stack``: cells with one key can train in one stack."""
        settings = self.model_dump().items()
        return tuple(value for name, value in settings if name not in self.varied_in_a_stack)

    def trial_id(self, seed: int) -> str:
        """Return the id of the training of this cell with one seed."""
        return f"{self.cell_id}-{seed:04d}"


# Cached by the settings, not on the object: a copy with other settings has another id.
@lru_cache(maxsize=100_000)
def _cell_id(cell: CellSettings) -> str:
    later = cell.came_later.items()
    settings = {name: value for name, value in cell.model_dump().items() if (name, value) not in later}
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
