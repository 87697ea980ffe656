from dataclasses import replace

import pytest

from study.grid.grid import Grid
from study.plan.jobs import study_info
from study.store.files import StoreError
from study.store.study_json import disagreements, join_info, shared_draw, with_history
from trainables.config import Draw
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


PLUS = {"name": "weight", "plus": [{"aux_weight": 1.0}], "minus": [{"aux_weight": 0.0}]}


def contrasted(*contrasts, earlier=None, seeds=range(2)):
    factors = {"aux_weight": {"role": "scientific", "values": WEIGHTS["aux_weight"]}}
    asked = {"name": "g", "description": "Of a test.", "factors": factors, "contrasts": [*contrasts]}
    return info_of(Grid.model_validate(asked), earlier, seeds)


def rows_of(info, seeds):
    return [{"cell_id": cell["cell_id"], "seed": seed, "status": "completed"} for cell in info.cells for seed in seeds]


def test_a_contrast_keeps_when_it_was_named_and_what_had_been_seen():
    info = with_history(contrasted(PLUS), None, [])
    (first,) = info.contrasts
    assert first["first_named"]["trainings"] == 0
    assert first["seen"] == []
    # More seeds after two of each cell have ended; the same again changes nothing.
    later = {"name": "later", "plus": PLUS["minus"], "minus": PLUS["plus"]}
    rows = rows_of(info, range(2))
    grown = with_history(contrasted(PLUS, later, earlier=info, seeds=range(4)), info, rows)
    kept, added = grown.contrasts
    assert (kept["first_named"], kept["seen"]) == (first["first_named"], [2])
    assert added["first_named"]["trainings"] == 4
    again = with_history(contrasted(PLUS, later, earlier=grown, seeds=range(4)), grown, rows)
    assert again == grown


def test_seeds_that_were_added_before_the_contrast_was_complete_are_no_look():
    info = with_history(contrasted(PLUS), None, [])
    rows = rows_of(info, range(2))[:3]
    grown = with_history(contrasted(PLUS, earlier=info, seeds=range(4)), info, rows)
    assert grown.contrasts[0]["seen"] == []


def test_a_contrast_with_other_cells_is_refused():
    info = with_history(contrasted(PLUS), None, [])
    other = PLUS | {"minus": [{"aux_weight": 1.0}], "plus": [{"aux_weight": 0.0}]}
    with pytest.raises(StoreError, match="the contrast 'weight' compared other cells when it was first named in abc"):
        contrasted(other, earlier=info)


def test_joined_studies_keep_the_first_naming_in_either_order():
    first, second = (
        with_history(contrasted(PLUS), None, []),
        with_history(contrasted(PLUS), None, rows_of(contrasted(PLUS), range(2))),
    )
    second.contrasts[0]["first_named"]["at"] = "2999-01-01T00:00:00+00:00"
    for joined in (join_info(first, second), join_info(second, first)):
        assert joined.contrasts[0]["first_named"] == first.contrasts[0]["first_named"]
    # Older versions wrote no time, so it is not known.
    assert join_info(contrasted(PLUS), contrasted(PLUS)).contrasts[0]["first_named"] is None


def test_the_draw_of_a_study_is_the_one_that_says_least_of_new_data():
    assert contrasted(PLUS).draw == {"each_seed": "resplit", "test_per_train": 1000 / 800}
    assert info_of(grid(WEIGHTS, data="mnist")).draw == {"each_seed": "fresh", "test_per_train": None}
    fixed = info_of(grid(WEIGHTS | {"fixed_data": [False, True]}))
    assert fixed.draw["each_seed"] == "same"
    assert join_info(fixed, contrasted(PLUS)).draw == join_info(contrasted(PLUS), fixed).draw == fixed.draw
    assert shared_draw([Draw("fresh"), None]) is None
    with pytest.raises(ValueError, match="test_per_train None with each_seed resplit: expected a number above 0"):
        Draw("resplit")
