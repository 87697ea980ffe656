import pytest
import yaml
from pydantic import ValidationError

from study.grid.grid import Grid, GridError
from study.grid.load import load_grid
from study.grid.shipped import grid_names
from trainables.config import Draw
from trainables.digits.settings import CellConfig

WEIGHTS = [0, 0.1, 0.5, 1, 3, 10, 100, 1000]
VARIED = {  # beyond the four factors
    "smoke": {"max_epochs"},
    "protocol": {"fixed_data", "validation_share"},
    "beyond": {"pairing", "shift", "distort", "batch_norm", "width", "data", "max_epochs"}
    | {"plateau_patience", "stop_patience"},
}
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


def test_beyond_has_all_of_it_all_but_one_and_none():
    cells = load_grid("beyond").cells()
    extras = ("pairing", "shift", "distort", "batch_norm", "width")
    reference, everything = CellConfig(), cells[0]
    off = {cell: {name for name in extras if getattr(cell, name) != getattr(everything, name)} for cell in cells}
    assert {len(names) for names in off.values()} == {0, 1, 5}
    assert {name for names in off.values() for name in names if len(names) == 1} == set(extras)
    for cell, names in off.items():
        assert all(getattr(cell, name) == getattr(reference, name) or cell.pairing == "swapped" for name in names)
        assert (cell.dropout == 0.5) == (len(names) == 5)  # the report's best cell
        assert cell.sharing


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


# small.yaml has name, description and factors in lines 1 to 3, sharing in 4 to 8, aux_weight in 9 to 13.
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("name: [unclosed\n", "2: malformed YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: x\n\tseeds: 3\n", "2: malformed YAML: found character '\\t' that cannot start any token"),
        ("name: x\nseeds: 3\nname: y\n", "3: the key name is there twice, first in line 1"),
        ("factors:\n  dropout: {role: tuned,\n    role: fixed}\n", "3: the key role is there twice, first in line 2"),
        ("name: x\non: 3\n", "2: the key 'on' is not text; expected a name"),
        ("name: !!python/name:os.system x\n", "1: the tag 'tag:yaml.org,2002:python/name:os.system' has no use here"),
        ("seeds: !!int x\n", "1: the tag 'tag:yaml.org,2002:int' has no use here; remove it"),
        ("name: x\nfactors: &a {dropout: *a}\n", "2: an alias contains itself"),
        ("[" * 1000, " malformed YAML: nested too deeply"),
        ("just a text", "1: expected keys such as name and factors, not str"),
        ("", "1: expected keys such as name and factors, not NoneType"),
        ({"sede": 3}, "14: sede: unknown key; did you mean seeds?"),
        ({"nonsense": 3}, "14: nonsense: unknown key; expected one of name, description, seeds, factors, rules, skip,"),
        ({"factors": {"sharing": {"rol": "fixed"}}}, "5: factors.sharing.rol: unknown key; did you mean role?"),
        ({"factors": {"sharing": {"values": [True]}}}, "4: factors.sharing: the key role is missing"),
        ({"factors": {}}, "3: factors: expected at least one, not {}"),
        (factor([]), "9: factors.aux_weight: the factor has no value: give it values, or name it in cells"),
        (factor([0, -1]), "13: factors.aux_weight.values[1]: expected greater than or equal to 0, not -1"),
        (factor([1.5], name="dropout"), "17: factors.dropout.values[0]: expected less than 1, not 1.5"),
        (factor([float("nan")]), "12: factors.aux_weight.values[0]: expected greater than or equal to 0, not nan"),
        (factor([float("inf")]), "12: factors.aux_weight.values[0]: expected a finite number, not inf"),
        (factor([1, 1.0]), "13: factors.aux_weight.values[1]: 1 is there twice; remove one"),
        (factor([True]), "12: factors.aux_weight.values[0]: expected a valid number, not on"),
        (factor(["1"]), "12: factors.aux_weight.values[0]: expected a valid number, not '1'"),
        (factor([None]), "12: factors.aux_weight.values[0]: expected a number, a word, on or off, not nothing"),
        (factor([[1]]), "12: factors.aux_weight.values[0]: expected a number, a word, on or off, not several"),
        (factor([1], name="fixed_data"), "17: factors.fixed_data.values[0]: expected on or off, not 1"),
        (factor(["mnist6k"], name="data"), "17: factors.data.values[0]: expected 'mnist5k' or 'mnist', not 'mnist6k'"),
        (
            factor([1], role="tunned"),
            "10: factors.aux_weight.role: expected 'scientific', 'tuned' or 'fixed', not 'tunned'; did you mean tuned?",
        ),
        (factor([1], name="aux_wieght"), "14: factors.aux_wieght: unknown setting; did you mean aux_weight?"),
        ({"seeds": 0}, "14: seeds: expected greater than or equal to 1, not 0"),
        ({"seeds": 1_000_001}, "14: seeds: expected less than or equal to 1000000, not 1000001"),
        ({"protocol": {"epochs": 3}}, "15: protocol.epochs: unknown setting; did you mean max_epochs?"),
        ({"protocol": {"sharing": True}}, "15: protocol.sharing: a factor has its values in factors and cells"),
        ({"protocol": {"batch_size": 100, "max_epochs": 2.5}}, "16: protocol.max_epochs: expected a valid integer"),
        (
            {"protocol": {"train_pairs": 2, "validation_share": 0.9}},
            "16: protocol.validation_share: the cell sharing off,",
        ),
        ({"skip": [{"dropout": 0}]}, "15: skip[0].dropout: not a factor of this grid; expected one of sharing, aux_w"),
        ({"skip": [{"aux_weight": 0}, {"aux_weight": 10}]}, "14: skip: no cell is left; remove a condition"),
        (
            {"rules": [{"when": {"sharing": True}, "set": {"aux_weight": 3}}]},
            "18: rules[0].set.aux_weight: a factor has its values in factors and cells",
        ),
        (
            {"rules": [{"when": {"sharing": 1}, "set": {"dropout": 0.1}}]},
            "16: rules[0].when.sharing: expected on or",
        ),
        (
            {"stopping": {"protect": [{"aux_weight": 11}]}},
            "16: stopping.protect[0].aux_weight: no cell has 11; expected one of 0, 10",
        ),
        ({"stopping": {"protect": [{}]}}, "16: stopping.protect[0]: expected at least one, not {}"),
        ({"stopping": {"reduction_factor": 1}}, "15: stopping.reduction_factor: expected greater than or equal to 2"),
        ({"stopping": {"shceduler": "none"}}, "15: stopping.shceduler: unknown key; did you mean scheduler?"),
    ],
)
def test_bad_grid_is_refused_in_one_line_with_its_line_and_key(grid_file, changes, message):
    path = grid_file(changes)
    with pytest.raises(GridError) as error:
        load_grid(path)
    assert str(error.value).startswith(f"{path}:{message}")
    assert "\n" not in str(error.value)


def test_unknown_grids_are_answered_with_the_nearest_one(tmp_path, monkeypatch):
    with pytest.raises(GridError, match=r"^unknown grid 'fulll': did you mean full\?$"):
        load_grid("fulll")
    known = "smoke, table1, protocol, dropout-or-rate, search, full, beyond, the path of a .yaml file"
    with pytest.raises(GridError, match=f"^unknown grid 'x': expected one of {known}$"):
        load_grid("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GridError, match=r"^no grid file missing\.yaml: no such file; give the path of a YAML file$"):
        load_grid("missing.yaml")
    (tmp_path / "weights.yaml").touch()
    with pytest.raises(GridError, match=r"^unknown grid 'weights': did you mean weights\.yaml\?$"):
        load_grid("weights")
    with pytest.raises(GridError, match=r"^no grid file wieghts\.yaml: no such file; did you mean weights\.yaml\?$"):
        load_grid("wieghts.yaml")


def test_a_value_is_the_same_however_it_is_spelt(grid_file):
    """PyYAML itself reads 1e-3 as text, 010 as 8 and 1:30 as 90."""
    text = """
    name: spelt
    description: One value in many ways.
    seeds: 1e1
    factors:
      learning_rate: {role: tuned, values: [1e-3, 1E-2, 0.1, 1., +1e1, 1_00.0]}
      sharing: {role: scientific, values: [Off, TRUE]}
    protocol: {max_epochs: 1e1, batch_size: 50.0, validation_share: .25}
    """
    grid = load_grid(grid_file(text))
    assert grid.seeds == 10
    assert grid.factors["learning_rate"].values == [0.001, 0.01, 0.1, 1, 10, 100]
    assert grid.factors["sharing"].values == [False, True]
    (epochs, batch, share) = next(
        iter({(c.max_epochs, c.batch_size, c.validation_share) for c in grid.cells()}),
    )
    assert (epochs, batch, share) == (10, 50, 0.25)
    for spelling in ("010", "1:30", "2026-01-02", "0x10", "1e", "--1"):
        with pytest.raises(GridError, match="expected a valid number, not '"):
            load_grid(grid_file(text.replace("0.1,", f"{spelling},")))


def test_merged_keys_and_aliases_are_read_and_located(grid_file):
    text = """
    name: merged
    description: Of a test.
    factors:
      dropout: &tuned {role: tuned, values: [0, 0.5]}
      aux_weight: {<<: *tuned, values: [0, 10, 100]}
    """
    assert len(load_grid(grid_file(text)).cells()) == 6
    with pytest.raises(GridError, match=r":5: factors\.dropout\.values\[1\]: expected less than 1, not 5"):
        load_grid(grid_file(text.replace("0.5]", "5]")))
    with pytest.raises(GridError, match=r":6: factors\.aux_weight\.values\[2\]: expected greater"):
        load_grid(grid_file(text.replace("100]", "-1]")))


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
        (contrast([{"sharing": True}], []), "18: contrasts[0].minus: expected at least one, not []"),
        (contrast([{"sharing": True}], [{}]), "19: contrasts[0].minus[0]: expected at least one, not {}"),
        (
            contrast([{"sharing": True}], [{"sharing": False}, {"sharing": True}]),
            "15: contrasts[0]: contrast 'gain' has 1 plus and 2 minus cells: expected the same number",
        ),
        (
            contrast([{"dropout": 0}], [{"sharing": True}]),
            "17: contrasts[0].plus[0].dropout: not a factor",
        ),
        (
            contrast([{"aux_weight": 3}], [{"aux_weight": 0}]),
            "17: contrasts[0].plus[0]: no cell matches aux_weight 3",
        ),
        (
            {"cells": [{"dropout": 0.5}]},
            "15: cells[0].dropout: not a factor of this grid; expected one of shar",
        ),
        (
            {"cells": [{"sharing": True, "aux_weight": 10}]},
            "15: cells[0]: duplicate cell sharing on, aux_weight 10; remove it",
        ),
        (explicit({"model": "classifier"}), "17: cells[0].sharing: the cell model classifier, sharing off, "),
        (
            explicit({"model": "clasifier"}),
            "17: cells[0].model: expected comparator or classifier, or module:Class",
        ),
    ],
)
def test_bad_contrasts_and_cells_are_refused_in_one_line(grid_file, changes, message):
    path = grid_file(changes)
    with pytest.raises(GridError) as error:
        load_grid(path)
    assert str(error.value).startswith(f"{path}:{message}")
    assert "\n" not in str(error.value)


def test_shipped_contrasts_differ_in_what_they_name():
    grid = load_grid("full")
    assert [contrast.name for contrast in grid.contrasts] == [c.name for c in load_grid("table1").contrasts]
    assert grid.contrasts[0].plus == [{"model": "comparator", "sharing": True, "aux_weight": 0, "dropout": 0}]
    assert len(load_grid("dropout-or-rate").contrasts) == 4


def test_a_grid_says_what_data_the_seeds_have_in_a_mapping():
    content = {"name": "own", "description": "Own.", "factors": {"dropout": {"role": "tuned", "values": [0, 0.5]}}}
    grid = Grid.model_validate(content | {"draw": {"each_seed": "resplit", "test_per_train": 0.6}})
    assert grid.draw == Draw("resplit", 0.6)
    with pytest.raises(ValidationError, match="fresh"):
        Grid.model_validate(content | {"draw": {"each_seed": "other"}})
