"""CellSettings: what every cell has; CellConfig: the frozen, validated, only list of settings of the report's cells."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _no_negative_zero(value: float) -> float:
    return value + 0.0  # -0.0 + 0.0 is 0.0


Number = Annotated[float, AfterValidator(_no_negative_zero), Field(allow_inf_nan=False)]


class TrainableError(Exception):
    """A model or data that cannot be used, which the user can mend: one line with what is wrong and the fix."""


class CellSettings(BaseModel):
    """One combination of all factors, with the protocol it is trained under: what cells of every model have.

    The defaults are the report's. A model of one's own adds settings by a subclass. Seeds are no setting of a cell:
    they are its replicates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    varied_in_a_stack: ClassVar[tuple[str, ...]] = ("learning_rate",)
    """Numbers that each replicate of a stack can have of its own."""
    came_later: ClassVar[Mapping[str, Any]] = {}
    """Settings that came after studies were stored, with their defaults: cells without them keep their id."""
    stored_as_columns: ClassVar[tuple[str, ...]] = ()
    """Settings that the store keeps in columns of their own, beside those that cells of every model have."""

    model: str = Field(description="The network: package.module:Class of a model of one's own.")
    learning_rate: Number = Field(1e-3, gt=0, description="Adam's first learning rate.")
    batch_size: int = Field(100, ge=1, description="Examples (of the report's networks: pairs) in a training step.")
    max_epochs: int = Field(80, ge=1, description="Epochs after which a training ends at the latest.")
    plateau_factor: Number = Field(
        0.2, gt=0, lt=1, description="What the learning rate is multiplied by on a plateau of the validation loss."
    )
    plateau_patience: int = Field(7, ge=0, description="Epochs without a better validation loss that make a plateau.")
    stop_patience: int = Field(10, ge=1, description="Epochs without a better validation loss that end a training.")

    @property
    def cell_id(self) -> str:
        """Twelve hex digits of the SHA-256 of the canonical JSON: the same settings always have the same id."""
        return _cell_id(self)

    @property
    def has_shipped_rate(self) -> bool:
        """Whether a training takes about as long as those whose rate is shipped with the program."""
        return False

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """All settings but those of ``varied_in_a_stack``: cells with the same ones can train in one stack."""
        return tuple(value for name, value in self.model_dump().items() if name not in self.varied_in_a_stack)

    def trial_id(self, seed: int) -> str:
        """Name the training of this cell with one seed."""
        return f"{self.cell_id}-{seed:04d}"


@lru_cache(maxsize=100_000)  # by the settings, not on the object: a copy with other settings has another id
def _cell_id(cell: CellSettings) -> str:
    later = cell.came_later.items()
    settings = {name: value for name, value in cell.model_dump().items() if (name, value) not in later}
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
