import pytest
import yaml

from study.grid import GridError, format_value, grid_names, load_grid
from trainables.config import CellConfig

WEIGHTS = [0, 0.1, 0.5, 1, 3, 10, 100, 1000]
VARIED = {"smoke": {"max_epochs"}, "protocol": {"fixed_data", "validation_share"}}  # beyond the four factors
CLASSIFIER = CellConfig(model="classifier", sharing=True)
SMALL = {
    "name": "small",
    "description": "A grid of the tests.",
    "factors": {
        "sharing": {"role": "scientific", "values": [False, True]},
        "aux_weight": {"role": "tuned", "values": [0, 10]},
    },
}


@pytest.fixture
def grid_file(tmp_path):
    def write(changes):
        path = tmp_path / "small.yaml"
        path.write_text(changes if isinstance(changes, str) else yaml.safe_dump(SMALL | changes, sort_keys=False))
        return str(path)

    return write


def factor(values, role="tuned", name="aux_weight"):
    return {"factors": SMALL["factors"] | {name: {"role": role, "values": values}}}


def test_full_grid_is_the_whole_product_and_the_classifier():
    grid = load_grid("full")
    cells = grid.cells()
    wanted = {(s, w, d) for s in (False, True) for w in WEIGHTS for d in (0, 0.5)}
    assert len(cells) == 33
    assert {cell.model for cell in cells[:-1]} == {"comparator"}
    assert {(cell.sharing, cell.aux_weight, cell.dropout) for cell in cells[:-1]} == wanted
    assert cells[-1] == CLASSIFIER
    assert grid.seeds == 10
    assert grid.roles == {
        "model": "scientific",
        "sharing": "scientific",
        "aux_weight": "tuned",
        "dropout": "scientific",
        "learning_rate": "fixed",
    }


def test_table1_has_just_the_cells_of_the_table():
    *cells, classifier = load_grid("table1").cells()
    assert classifier == CLASSIFIER
    assert {(cell.sharing, cell.aux_weight, cell.dropout) for cell in cells} == {
        (sharing, *rest) for sharing in (False, True) for rest in ((0, 0), (10, 0), (1, 0.5), (10, 0.5))
    }
    assert load_grid("table1").seeds == 10


def test_dropout_or_rate_crosses_both():
    cells = load_grid("dropout-or-rate").cells()
    crossed = {(cell.sharing, cell.dropout, cell.learning_rate, cell.aux_weight) for cell in cells}
    assert len(cells) == len(crossed) == 24
    assert {len({c[i] for c in crossed}) for i in range(3)} == {2}
    assert set(load_grid("table1").cells()) - {CLASSIFIER} <= set(cells)


def test_table1_is_part_of_full():
    assert set(load_grid("table1").cells()) <= set(load_grid("full").cells())


def test_smoke_is_small():
    grid = load_grid("smoke")
    assert (len(grid.cells()), grid.seeds, {cell.max_epochs for cell in grid.cells()}) == (4, 2, {3})


@pytest.mark.parametrize("name", ["full", "table1"])
def test_learning_rate_depends_on_dropout(name):
    for cell in load_grid(name).cells():
        assert cell.learning_rate == (1e-2 if cell.dropout else 1e-3)


@pytest.mark.parametrize("name", grid_names())
def test_cells_of_shipped_grids_otherwise_follow_the_report(name):
    report = CellConfig()
    varied = {"model", "sharing", "aux_weight", "dropout", "learning_rate"} | VARIED.get(name, set())
    for cell in load_grid(name).cells():
        assert cell.model_dump(exclude=varied) == report.model_dump(exclude=varied)


def test_full_protects_references_and_the_weights_of_the_report():
    grid = load_grid("full")
    protected = {(cell.aux_weight, cell.dropout) for cell in grid.cells() if grid.protects(cell)}
    assert protected == {(0, 0), (0, 0.5), (10, 0), (1, 0.5)}


def test_a_stratum_has_the_same_scientific_factors():
    grid = load_grid("full")
    strata = {}
    for cell in grid.cells():
        strata.setdefault(grid.stratum(cell), []).append(cell.aux_weight)
    assert sorted(map(sorted, strata.values())) == [[0], *[WEIGHTS] * 4]


def test_data_overrides_the_protocol_and_changes_every_cell_id():
    grid = load_grid("smoke")
    embedded, full = grid.cells(), grid.cells("mnist")
    assert {cell.data for cell in full} == {"mnist"}
    assert not {cell.cell_id for cell in embedded} & {cell.cell_id for cell in full}


def test_own_grid_file(grid_file):
    path = grid_file({"protocol": {"max_epochs": 5}, "skip": [{"sharing": True, "aux_weight": 10}]})
    cells = load_grid(path).cells()
    assert [(cell.sharing, cell.aux_weight, cell.max_epochs) for cell in cells] == [
        (False, 0, 5),
        (False, 10, 5),
        (True, 0, 5),
    ]


def test_yaml_off_and_on_are_booleans(grid_file):
    text = yaml.safe_dump(SMALL, sort_keys=False).replace("false", "off").replace("true", "on")
    assert "off" in text
    assert {cell.sharing for cell in load_grid(grid_file(text)).cells()} == {False, True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("name: [unclosed", "malformed YAML in line"),
        ("just a text", "expected keys such as name and factors, got str"),
        ({"sede": 3}, "unknown key sede"),
        ({"factors": {}}, "factors is {}: dictionary should have at least 1 item"),
        (factor([]), "factor 'aux_weight' has no value: give it values, or name it in cells"),
        (factor([-1]), "aux_weight is -1: input should be greater than or equal to 0"),
        (factor([1.5], name="dropout"), "dropout is 1.5: input should be less than 1"),
        (factor([float("nan")]), "aux_weight is nan"),
        (factor([1, 1.0]), "duplicate cell sharing off, aux_weight 1"),
        (factor([1], role="nuisance"), "factors.aux_weight.role is 'nuisance'"),
        (factor([1], name="aux_wieght"), "unknown setting 'aux_wieght' in factors: expected one of .*aux_weight"),
        ({"seeds": 0}, "seeds is 0: input should be greater than or equal to 1"),
        ({"protocol": {"epochs": 3}}, "unknown setting 'epochs' in protocol"),
        ({"protocol": {"sharing": True}}, "unknown setting 'sharing' in protocol"),
        ({"protocol": {"max_epochs": 0}}, "max_epochs is 0"),
        ({"skip": [{"dropout": 0}]}, "unknown setting 'dropout' in a condition"),
        ({"skip": [{"aux_weight": 0}, {"aux_weight": 10}]}, "skip leaves no cell"),
        ({"rules": [{"when": {"sharing": True}, "set": {"aux_weight": 3}}]}, "unknown setting 'aux_weight' in rules"),
        ({"stopping": {"protect": [{"aux_weight": 11}]}}, "a condition on aux_weight 11 matches no cell"),
        ({"stopping": {"protect": [{}]}}, "stopping.protect.0 is {}"),
        ({"stopping": {"reduction_factor": 1}}, "stopping.reduction_factor is 1"),
    ],
)
def test_bad_grid_is_refused_in_one_line(grid_file, changes, message):
    with pytest.raises(GridError, match=message) as error:
        load_grid(grid_file(changes))
    assert "\n" not in str(error.value)


def test_unknown_grid_names_the_known_ones():
    with pytest.raises(
        GridError, match="unknown grid 'fulll': expected one of smoke, table1, protocol, dropout-or-rate, full"
    ):
        load_grid("fulll")
    with pytest.raises(GridError, match=r"no grid file missing\.yaml"):
        load_grid("missing.yaml")


def test_values_are_written_as_grid_files_write_them():
    assert [format_value(value) for value in (False, True, 0.1, 1000.0, 3, "mnist")] == [
        "off",
        "on",
        "0.1",
        "1000",
        "3",
        "mnist",
    ]


def explicit(*cells, **changes):
    factors = {"model": {"role": "scientific"}, **SMALL["factors"]}
    return {"factors": factors, "cells": list(cells), **changes}


def test_explicit_cells_come_after_the_product_with_defaults_and_rules(grid_file):
    cell = {"model": "classifier", "sharing": True}
    rule = {"when": {"model": "classifier"}, "set": {"learning_rate": 0.01}}
    cells = load_grid(grid_file(explicit(cell, rules=[rule]))).cells()
    assert [(c.model, c.sharing, c.aux_weight, c.learning_rate) for c in cells] == [
        ("comparator", False, 0, 0.001),
        ("comparator", False, 10, 0.001),
        ("comparator", True, 0, 0.001),
        ("comparator", True, 10, 0.001),
        ("classifier", True, 0, 0.01),
    ]


def test_a_grid_may_be_explicit_cells_alone(grid_file):
    factors = {"sharing": {"role": "scientific"}, "aux_weight": {"role": "tuned"}}
    grid = load_grid(grid_file({"factors": factors, "cells": [{"aux_weight": 3}, {"sharing": True, "aux_weight": 1}]}))
    assert grid.cells() == [CellConfig(aux_weight=3), CellConfig(sharing=True, aux_weight=1)]
    assert grid.roles == {"sharing": "scientific", "aux_weight": "tuned"}


def test_conditions_may_name_what_only_explicit_cells_have(grid_file):
    cell = {"model": "classifier", "sharing": True}
    grid = load_grid(grid_file(explicit(cell, stopping={"protect": [{"model": "classifier"}]})))
    assert [grid.protects(cell) for cell in grid.cells()] == [False] * 4 + [True]


def contrast(plus, minus):
    return {"contrasts": [{"name": "gain", "plus": plus, "minus": minus}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (contrast([{"sharing": True}], []), r"contrasts.0.minus is \[\]"),
        (contrast([{"sharing": True}], [{}]), r"contrasts.0.minus.0 is \{\}"),
        (
            contrast([{"sharing": True}], [{"sharing": False}, {"sharing": True}]),
            "contrast 'gain' has 1 plus and 2 minus cells: expected as many",
        ),
        (contrast([{"dropout": 0}], [{"sharing": True}]), "unknown setting 'dropout' in contrast 'gain'"),
        (contrast([{"aux_weight": 3}], [{"aux_weight": 0}]), "contrast 'gain': no cell matches {'aux_weight': 3}"),
        ({"cells": [{"dropout": 0.5}]}, "unknown setting 'dropout' in cells"),
        ({"cells": [{"sharing": True, "aux_weight": 10}]}, "duplicate cell sharing on, aux_weight 10"),
        ({"seeds": 1_000_001}, "seeds is 1000001: input should be less than or equal to 1000000"),
    ],
)
def test_bad_contrasts_and_cells_are_refused_in_one_line(grid_file, changes, message):
    with pytest.raises(GridError, match=message) as error:
        load_grid(grid_file(changes))
    assert "\n" not in str(error.value)


def test_shipped_contrasts_differ_in_what_they_name():
    grid = load_grid("full")
    assert [contrast.name for contrast in grid.contrasts] == [c.name for c in load_grid("table1").contrasts]
    assert grid.contrasts[0].plus == [{"model": "comparator", "sharing": True, "aux_weight": 0, "dropout": 0}]
    assert len(load_grid("dropout-or-rate").contrasts) == 4
