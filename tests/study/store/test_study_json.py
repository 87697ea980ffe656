from dataclasses import replace

import pytest

from study.grid.grid import Grid
from study.plan.jobs import study_info
from study.store.files import StoreError
from study.store.study_json import disagreements, join_info
from trainables.digits.settings import CellConfig


def grid(factors, **protocol):
    roles = {name: {"role": "scientific", "values": values} for name, values in factors.items()}
    return Grid.model_validate({"name": "g", "description": "Of a test.", "factors": roles, "protocol": protocol})


def info_of(asked, earlier=None, seeds=range(2)):
    return study_info("abc", asked, asked.cells(), seeds, earlier)


WEIGHTS = {"aux_weight": [0.0, 1.0]}


def test_a_setting_becomes_a_factor_with_the_value_that_the_old_cells_had():
    earlier = replace(info_of(grid(WEIGHTS, batch_size=200)), runs=({"commit": "x"},))
    info = info_of(grid(WEIGHTS | {"batch_size": [50]}), earlier)
    assert info.roles == {"aux_weight": "scientific", "batch_size": "scientific"}
    assert "batch_size" not in info.protocol
    assert [(c["aux_weight"], c["batch_size"]) for c in info.cells] == [(0, 200), (1, 200), (0, 50), (1, 50)]
    assert info.runs == ({"commit": "x"},)


def test_a_factor_stays_one_when_a_later_grid_does_not_vary_it():
    earlier = info_of(grid(WEIGHTS | {"batch_size": [200, 50]}))
    info = info_of(grid(WEIGHTS, batch_size=200), earlier)
    assert replace(info, orders=None) == earlier
    third = info_of(grid(WEIGHTS, batch_size=25), info)  # a value like any other: the cells say it
    assert {cell["batch_size"] for cell in third.cells} == {200, 50, 25}
    assert "batch_size" not in third.protocol


def test_a_study_from_before_a_setting_had_its_default():
    earlier = info_of(grid(WEIGHTS))
    for settings in (earlier.protocol, *earlier.cells):
        del settings["fixed_data"]
    assert info_of(grid(WEIGHTS), earlier).protocol["fixed_data"] is False
    with pytest.raises(
        StoreError, match=r"abc was run with fixed_data False, now it is True: .*make fixed_data a factor"
    ):
        info_of(grid(WEIGHTS, fixed_data=True), earlier)
    grown = info_of(grid(WEIGHTS | {"fixed_data": [False, True]}), earlier)
    assert [cell["fixed_data"] for cell in grown.cells] == [False, False, True, True]
    assert [CellConfig.model_validate(_settings(cell)).cell_id for cell in grown.cells] == [
        cell["cell_id"] for cell in grown.cells
    ]


def _settings(cell):
    return {name: value for name, value in cell.items() if name != "cell_id"}


def test_disagreements_are_of_settings_that_are_no_factor_of_either():
    first, second = info_of(grid(WEIGHTS, batch_size=50, max_epochs=2)), info_of(grid(WEIGHTS, max_epochs=3))
    assert disagreements(first, second) == [("max_epochs", 2, 3), ("batch_size", 50, 100)]
    varied = info_of(grid(WEIGHTS | {"batch_size": [100]}, max_epochs=2))
    assert disagreements(first, varied) == disagreements(varied, first) == []


def test_joining_is_a_union_and_twice_is_once():
    first = replace(info_of(grid(WEIGHTS)), runs=({"commit": "x"},), networks=({"model": "a", "sharing": True},))
    second = replace(
        info_of(grid({"aux_weight": [1.0, 3.0]}), seeds=range(5, 7)),
        runs=({"commit": "y"},),
        networks=({"model": "a", "sharing": True}, {"model": "a", "sharing": False}),
    )
    joined = join_info(first, second)
    assert [cell["aux_weight"] for cell in joined.cells] == [0, 1, 3]
    assert (joined.seeds, joined.runs) == ((0, 1, 5, 6), ({"commit": "x"}, {"commit": "y"}))
    assert joined.networks == second.networks
    assert join_info(joined, second) == joined


@pytest.mark.parametrize(("first", "then"), [("scientific", "fixed"), ("tuned", "scientific"), ("fixed", "tuned")])
def test_whichever_grid_is_later_the_stronger_role_counts(first, then):
    infos = [replace(info_of(grid(WEIGHTS)), roles={"aux_weight": role}) for role in (first, then)]
    stronger = "tuned" if "scientific" not in (first, then) else "scientific"
    for one, other in (infos, infos[::-1]):
        assert join_info(one, other).roles == {"aux_weight": stronger}
