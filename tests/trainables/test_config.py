import re
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from trainables.config import CellSettings
from trainables.digits.settings import CellConfig


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"aux_weight": 10}, {"aux_weight": 10.0}),
        ({"aux_weight": 1e1, "sharing": True}, {"sharing": True, "aux_weight": 10}),
        ({"aux_weight": -0.0}, {"aux_weight": 0.0}),
        ({"dropout": -0.0}, {"dropout": 0}),
        ({"dropout": "-0.0"}, {}),
        ({"learning_rate": 0.001}, {"learning_rate": 1e-3}),
        ({"max_epochs": 80.0}, {}),
    ],
)
def test_the_spelling_of_a_setting_does_not_change_the_id(one, other):
    assert CellConfig(**one) == CellConfig(**other)
    assert CellConfig(**one).cell_id == CellConfig(**other).cell_id


def test_the_id_is_twelve_hex_digits_and_a_trial_adds_its_seed():
    cell = CellConfig()
    assert re.fullmatch("[0-9a-f]{12}", cell.cell_id)
    assert cell.trial_id(7) == f"{cell.cell_id}-0007"
    assert cell.trial_id(12345) == f"{cell.cell_id}-12345"


def test_a_cell_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        CellConfig().dropout = 0.5


def test_a_copy_with_another_setting_has_another_id():
    cell = CellConfig(aux_weight=1)
    assert cell.cell_id != cell.model_copy(update={"aux_weight": 2.0}).cell_id == CellConfig(aux_weight=2).cell_id


class Later(CellSettings):
    came_later: ClassVar = {"units": 8}
    units: int = 8
    momentum: float = 0.0  # this class had it before CellSettings did


def test_settings_that_came_later_leave_ids_as_they_were_in_every_class():
    # Ids of the settings before optimizer, momentum, ... were added, computed by the code of then.
    plain, own = CellSettings(model="a:B"), Later(model="a:B")
    assert plain.cell_id == "a8023012f3c0"
    assert own.cell_id == "4546deb7fb67" != plain.cell_id
    settings = {"optimizer": "sgd", "weight_decay": 0.1, "clip_norm": 1, "schedule": "cosine", "warmup_epochs": 2}
    ids = {Later(model="a:B", **{name: value}).cell_id for name, value in {**settings, "units": 4}.items()}
    assert len({own.cell_id, *ids}) == 7


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"momentum": 0.9}, "momentum 0.9 with optimizer adam: expected 0, .* set optimizer: sgd or momentum: 0"),
        ({"momentum": 0.9, "optimizer": "adamw"}, "momentum 0.9 with optimizer adamw"),
        ({"plateau_patience": 3, "schedule": "cosine"}, "plateau_patience 3 with schedule cosine: expected 7"),
        ({"plateau_factor": 0.5, "schedule": "constant"}, "plateau_factor 0.5 with schedule constant: expected 0.2"),
        ({"warmup_epochs": 80}, "warmup_epochs 80 with max_epochs 80: expected fewer"),
        ({"optimizer": "lion"}, "'adam', 'adamw' or 'sgd'"),
        ({"clip_norm": -1}, "greater than or equal to 0"),
        ({"momentum": 1, "optimizer": "sgd"}, "less than 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        CellSettings(model="a:B", **settings)


class Kinds(CellSettings):
    switch: bool = False
    depth: int | None = None
    share: Annotated[float, Field(gt=0)] | int = 1
    mode: Literal["fast", "slow"] = "fast"
    features: Literal["sqrt"] | float = 0.5
    layers: tuple[int, ...] = ()


def test_the_kind_of_a_setting_is_that_of_its_column():
    kinds = {name: Kinds.kind_of(name).__name__ for name in ("switch", "depth", "share", "mode", "features", "layers")}
    assert kinds == {
        "switch": "bool",
        "depth": "int",
        "share": "float",
        "mode": "str",
        "features": "str",
        "layers": "str",
    }
