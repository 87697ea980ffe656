import re

import pytest
from pydantic import ValidationError

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
