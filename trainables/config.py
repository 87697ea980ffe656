"""The settings of a cell, frozen and validated, and the metrics that its training reports."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# A number, without a negative zero: -0.0 + 0.0 is 0.0.
Number = Annotated[float, AfterValidator(lambda value: value + 0.0), Field(allow_inf_nan=False)]

KINDS = (bool, int, float, str)  # of settings; bool comes first, since it is an int too


class TrainableError(Exception):
    """A model or data that the user has to correct: one line with what is wrong and a fix."""


@dataclass(frozen=True)
class Metric:
    """A figure that a training reports for each part of its data, such as ``Metric("rmse", "min", "mg/dl")``.

    ``goal`` is "max" if more is better, else "min". What is stored, times ``scale``,
    is shown with the ``unit``: a fraction with unit "%" and scale 100. Raises ValueError.
    """

    name: str
    goal: Literal["max", "min"] = "max"
    unit: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", self.name) or self.name == "loss":
            expected = "expected up to 50 small letters, digits or '_', the first a letter; loss has its own columns"
            raise ValueError(f"metric {self.name!r}: {expected}")
        if self.goal not in ("max", "min"):
            raise ValueError(f"metric {self.name}: goal {self.goal!r}: expected max or min")
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise ValueError(f"metric {self.name}: scale {self.scale!r}: expected a number above 0")


@dataclass(frozen=True)
class Draw:
    """What data the seeds of a cell have, on which it depends what intervals over seeds are about.

    Each seed has "fresh" data, its own split of one data set ("resplit"), or the "same" data as the others.
    Of a re-split, ``test_per_train`` is how many examples are reported on for each that is trained on.
    Raises ValueError.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # a grid says it by a mapping

    each_seed: Annotated[
        Literal["fresh", "resplit", "same"],
        Field(description="Whether each seed has fresh data, its own split of one data set, or the same as others."),
    ]
    test_per_train: Annotated[
        float | None,
        Field(description="Of a re-split: how many examples are reported on for each that is trained on."),
    ] = None

    def __post_init__(self) -> None:
        share = self.test_per_train
        if (share is None) == (self.each_seed == "resplit") or (share is not None and not 0 < share < math.inf):
            expected = "a number above 0 if each_seed is resplit, and none otherwise"
            raise ValueError(f"test_per_train {share} with each_seed {self.each_seed}: expected {expected}")


def columns_of(metrics: Iterable[Metric], *parts: str) -> tuple[str, ...]:
    """Return ``<part>_<metric>`` for each metric and part, the parts of a metric together."""
    return tuple(f"{part}_{metric.name}" for metric in metrics for part in parts)


class TrainingSettings(BaseModel):
    """One combination of all factors, with the protocol by which it is trained.

    Every training has these settings. Seeds are replicates of a cell, not a setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What a training reports; the first is the objective, unless the grid names another."""
    varied_in_a_stack: ClassVar[tuple[str, ...]] = ()
    """Settings, all numbers, in which the replicates of a stack can differ."""
    came_later: ClassVar[Mapping[str, Any]] = {}
    """Settings that came later, with their defaults: cells with these keep their id."""
    stored_as_columns: ClassVar[tuple[str, ...]] = ()
    """Settings that have their own columns in the store even if no grid varies them."""

    model: str = Field(description="The model: package.module:Class, or package.module:function.")
    max_epochs: int = Field(80, ge=1, description="The largest number of epochs of a training.")

    @classmethod
    def epoch_figures(cls) -> tuple[str, ...]:
        """Return the columns of ``epochs`` that hold metrics."""
        return columns_of(cls.metrics, "train", "val", "test")

    @classmethod
    def trial_figures(cls) -> tuple[str, ...]:
        """Return the columns of ``trials`` that hold metrics of the last epoch, or with best_, of the best."""
        of_best = columns_of(cls.metrics, "best_val", "best_test")
        return (*columns_of(cls.metrics, "train", "val", "test"), *of_best)

    @classmethod
    def kind_of(cls, name: str) -> type:
        """Return the type of a setting's values, None aside: bool, int, float or str; for a mixture, str."""
        kinds = set(_kinds(cls.model_fields[name].annotation))
        if kinds == {int, float}:
            return float
        return kinds.pop() if len(kinds) == 1 else str

    @property
    def cell_id(self) -> str:
        """Twelve hex digits of the SHA-256 of the canonical JSON of the settings."""
        return _cell_id(self)

    @property
    def data_draw(self) -> Draw | None:
        """What data the seeds have; None if the model does not say, which a grid's ``draw`` then can."""
        return None

    @property
    def has_shipped_rate(self) -> bool:
        """Whether a training takes about as long as those whose rate is in the package."""
        return False

    @property
    def study_suffix(self) -> str:
        """What a study's default name adds to its grid's: a data source, if there are several."""
        data = getattr(self, "data", None)
        return "" if data is None else f"-{data}"

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """All settings but ``varied_in_a_stack``: cells with one key can share a stack."""
        settings = self.model_dump().items()
        return tuple(value for name, value in settings if name not in self.varied_in_a_stack)

    def trial_id(self, seed: int) -> str:
        """Return the id of the training of this cell with one seed."""
        return f"{self.cell_id}-{seed:04d}"


class FunctionSettings(TrainingSettings):
    """Settings of a model that is a function; your subclass adds its own, and ``metrics``."""


class ImportedSettings(TrainingSettings):
    """The settings of a training that was made elsewhere: its factors, by any name."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    model: Literal["imported"] = "imported"
    max_epochs: int = Field(1, exclude=True)  # unknown, so it is not stored


class CellSettings(TrainingSettings):
    """The settings of a model whose seeds train as one stack; your own model adds settings in a subclass."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("accuracy", "max", "%", 100),)
    varied_in_a_stack: ClassVar[tuple[str, ...]] = ("learning_rate",)
    came_later: ClassVar[Mapping[str, Any]] = {
        "optimizer": "adam",
        "momentum": 0.0,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "schedule": "plateau",
        "warmup_epochs": 0,
    }

    learning_rate: Number = Field(1e-3, gt=0, description="The learning rate at the start.")
    batch_size: int = Field(100, ge=1, description="Examples in one training step; for the built-in networks, pairs.")
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
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="PyTorch's optimiser, with its defaults.")
    momentum: Number = Field(0.0, ge=0, lt=1, description="SGD's momentum.")
    weight_decay: Number = Field(
        0.0, ge=0, description="Weight decay of all parameters: decoupled for adamw, else the L2 penalty of PyTorch."
    )
    clip_norm: Number = Field(
        0.0, ge=0, description="A seed's gradient with a larger norm is scaled down to this norm. 0: never."
    )
    schedule: Literal["plateau", "cosine", "constant"] = Field(
        "plateau",
        description="How the learning rate goes on: plateau, by the two settings plateau_*; cosine, down to 0 at "
        "max_epochs (stop_patience can end a training before); constant.",
    )
    warmup_epochs: int = Field(
        0,
        ge=0,
        description="In so many first epochs the learning rate rises in equal steps, before the schedule begins.",
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if cells of a stack are to differ in what the stack has once."""
        for name in cls.varied_in_a_stack:
            if name != "learning_rate" and (name in CellSettings.model_fields or name not in cls.model_fields):
                raise TypeError(
                    f"varied_in_a_stack of {cls.__qualname__} names {name}: expected learning_rate, or settings that "
                    "this class adds"
                )

    @model_validator(mode="after")
    def _optimiser_and_schedule_fit_together(self) -> Self:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum {self.momentum} with optimizer {self.optimizer}: expected 0, since only sgd has it; "
                "set optimizer: sgd or momentum: 0"
            )
        for name in ("plateau_factor", "plateau_patience"):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if self.schedule != "plateau" and value != default:
                raise ValueError(
                    f"{name} {value} with schedule {self.schedule}: expected {default}, the default, since it does "
                    f"nothing there; set schedule: plateau or leave {name} out"
                )
        if self.warmup_epochs >= self.max_epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} with max_epochs {self.max_epochs}: expected fewer than max_epochs"
            )
        return self

    @classmethod
    def epoch_figures(cls) -> tuple[str, ...]:
        """Return the columns of ``epochs``: the train part is evaluated only at the end."""
        return columns_of(cls.metrics, "val", "test")


def _kinds(annotation: Any) -> Iterator[type]:
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        inner = tuple(map(type, inner))
    elif get_origin(annotation) is Annotated:
        inner = inner[:1]
    for one in inner:
        yield from _kinds(one)
    if not inner and annotation is not NoneType:
        known = isinstance(annotation, type) and next((kind for kind in KINDS if issubclass(annotation, kind)), None)
        yield known or str


# Cached by the settings, not on the object: a copy with other settings has another id.
@lru_cache(maxsize=100_000)
def _cell_id(cell: TrainingSettings) -> str:
    later: dict[str, Any] = {}
    for base in reversed(type(cell).__mro__):
        # A setting that a subclass had under the same name was in its ids from the start.
        own = vars(base).get("__annotations__", {})
        later = {name: value for name, value in later.items() if name not in own}
        later |= vars(base).get("came_later", {})
    settings = {name: value for name, value in cell.model_dump().items() if (name, value) not in later.items()}
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
