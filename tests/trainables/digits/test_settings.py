import math

import pytest
from pydantic import ValidationError

from trainables.digits.settings import CellConfig

OTHER_VALUES = {
    "sharing": True,
    "aux_weight": 10.0,
    "dropout": 0.5,
    "learning_rate": 1e-2,
    "data": "mnist",
    "train_pairs": 999,
    "test_pairs": 999,
    "validation_share": 0.1,
    "batch_size": 99,
    "max_epochs": 79,
    "plateau_factor": 0.1,
    "plateau_patience": 6,
    "stop_patience": 9,
    "optimizer": "sgd",
    "momentum": 0.5,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "schedule": "constant",
    "warmup_epochs": 1,
    "fixed_data": True,
    "pairing": "renewed",
    "shift": 1,
    "distort": 0.2,
    "batch_norm": True,
    "width": 2.0,
}


def test_the_defaults_are_the_reports_protocol():
    assert CellConfig().model_dump() == {
        "model": "comparator",
        "sharing": False,
        "aux_weight": 0.0,
        "dropout": 0.0,
        "learning_rate": 1e-3,
        "data": "mnist5k",
        "train_pairs": 1000,
        "test_pairs": 1000,
        "validation_share": 0.2,
        "fixed_data": False,
        "pairing": "drawn",
        "shift": 0,
        "distort": 0.0,
        "batch_norm": False,
        "width": 1.0,
        "batch_size": 100,
        "max_epochs": 80,
        "plateau_factor": 0.2,
        "plateau_patience": 7,
        "stop_patience": 10,
        "optimizer": "adam",
        "momentum": 0.0,
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "schedule": "plateau",
        "warmup_epochs": 0,
    }


def test_these_ids_never_change():
    # A store finds what is trained already by its id; a change of these trains everything anew.
    assert CellConfig().cell_id == "f2a57b60d341"
    assert CellConfig(sharing=True, aux_weight=10, dropout=0.5, learning_rate=1e-2).cell_id == "866267c97711"


def test_every_setting_changes_the_id():
    cells = [CellConfig(), CellConfig(model="classifier", sharing=True)]
    needed = {"momentum": {"optimizer": "sgd"}}
    cells += [CellConfig(**{name: value} | needed.get(name, {})) for name, value in OTHER_VALUES.items()]
    assert set(OTHER_VALUES) | {"model"} == set(CellConfig.model_fields)
    assert len({cell.cell_id for cell in cells}) == len(cells)


def test_a_cell_survives_the_way_through_json():
    cell = CellConfig(**OTHER_VALUES | {"schedule": "plateau"})
    assert CellConfig.model_validate_json(cell.model_dump_json()).cell_id == cell.cell_id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "transformer"),
        ("data", "cifar"),
        ("aux_weight", -0.1),
        ("aux_weight", math.nan),
        ("aux_weight", math.inf),
        ("aux_weight", "much"),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("dropout", 1.5),
        ("dropout", math.nan),
        ("learning_rate", 0),
        ("learning_rate", -1e-3),
        ("learning_rate", math.inf),
        ("train_pairs", 1),
        ("test_pairs", 0),
        ("validation_share", 0),
        ("validation_share", 1),
        ("batch_size", 0),
        ("batch_size", 10.5),
        ("max_epochs", 0),
        ("plateau_factor", 0),
        ("plateau_factor", 1),
        ("plateau_patience", -1),
        ("stop_patience", 0),
        ("pairing", "again"),
        ("shift", -1),
        ("shift", 14),
        ("shift", 0.5),
        ("distort", -0.1),
        ("distort", 1.5),
        ("batch_norm", "some"),
        ("width", 0.06),
        ("width", math.inf),
        ("seeds", 10),
        ("sharing", None),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=name) as error:
        CellConfig(**{name: value})
    assert error.value.error_count() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharing": False}, "sharing off with model classifier: expected on, .*; set sharing: true"),
        (
            {"sharing": True, "aux_weight": 2},
            r"aux_weight 2\.0 with model classifier: expected 0, .*; set aux_weight: 0",
        ),
    ],
)
def test_a_classifier_shares_and_has_no_auxiliary_loss(settings, message):
    with pytest.raises(ValidationError, match=message):
        CellConfig(model="classifier", **settings)
    CellConfig(**settings)


@pytest.mark.parametrize(("pairs", "share"), [(2, 0.2), (2, 0.9), (100, 0.001), (100, 0.999)])
def test_a_share_that_leaves_no_pair_is_refused(pairs, share):
    with pytest.raises(ValidationError, match=r"validation_share .* leaves no pair"):
        CellConfig(train_pairs=pairs, validation_share=share)


@pytest.mark.parametrize(("pairs", "share"), [(2, 0.5), (100, 0.006), (100, 0.994)])
def test_a_share_that_leaves_one_pair_will_do(pairs, share):
    CellConfig(train_pairs=pairs, validation_share=share)


@pytest.mark.parametrize(("pairs", "batch"), [(1000, 1), (501, 200), (126, 100)])
def test_batch_norm_refuses_a_batch_of_one(pairs, batch):
    settings = {"train_pairs": pairs, "batch_size": batch, "validation_share": 0.2}
    with pytest.raises(ValidationError, match=rf"batch_size {batch} with batch_norm on: .* set another batch_size"):
        CellConfig(batch_norm=True, **settings)
    CellConfig(**settings)
