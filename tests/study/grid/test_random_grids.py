"""Random grid files, valid and broken, through reading, expansion and planning: a study's cells, or one line."""

import io
import os
from contextlib import redirect_stdout
from math import prod

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.cli.plan import show_plan
from study.grid.grid import GridError
from study.grid.json_schema import grid_schema
from study.grid.load import load_grid
from study.plan.forecast import Machines
from study.plan.resources import Resources
from study.plan.run_options import RunOptions, TrainingOptions
from study.store.files import StoreError

VALUES = {
    "sharing": [False, True],
    "fixed_data": [False, True],
    "pairing": ["drawn", "swapped", "renewed"],
    "shift": [0, 1],
    "distort": [0, 0.25],
    "width": [0.5, 1, 2],
    "aux_weight": [0, 0.5, 1, 10, 1000],
    "dropout": [0, 0.25, 0.5],
    "learning_rate": [0.001, 0.01, 1],
    "train_pairs": [100, 1000],
    "batch_size": [10, 100],
    "max_epochs": [1, 2, 80],
    "data": ["mnist5k", "mnist"],
}
SCHEMA = jsonschema.Draft202012Validator(grid_schema())
# STUDY_FUZZ=500 makes it the long one: docs/LOG.md has its counts.
count = int(os.environ.get("STUDY_FUZZ", "100"))
examples = settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def grids(draw):
    """A valid grid as plain values, and the number of its cells."""
    factors = draw(
        st.lists(st.sampled_from(sorted(set(VALUES) - {"data"})), min_size=1, max_size=4, unique=True),
    )
    values = {
        name: draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=3, unique=True)) for name in factors
    }
    grid = {
        "name": "random",
        "description": draw(st.text(st.characters(codec="utf-8"), max_size=20)),
        "seeds": draw(st.integers(1, 1000)),
        "factors": {
            name: {"role": draw(st.sampled_from(["scientific", "tuned", "fixed"])), "values": values[name]}
            for name in factors
        },
    }
    cell = {name: draw(st.sampled_from(values[name])) for name in factors}
    count = prod(map(len, values.values()))
    others = sorted(set(VALUES) - set(factors))
    chosen = {name: draw(st.sampled_from(VALUES[name])) for name in draw(st.sets(st.sampled_from(others), max_size=3))}
    if chosen and draw(st.booleans()):
        grid["rules"] = [{"when": {factors[0]: cell[factors[0]]}, "set": chosen}]
    elif chosen:
        grid["protocol"] = chosen
    if count > 1 and draw(st.booleans()):
        grid["skip"] = [cell]
        count -= 1
    elif draw(st.booleans()):
        grid["contrasts"] = [{"name": "same", "plus": [cell], "minus": [cell]}]
        grid["stopping"] = {"protect": [cell], "scheduler": "asha"}
    return grid, count


RANGES = {
    "aux_weight": {"low": 0.5, "high": 1000, "log": True},
    "dropout": {"low": 0, "high": 0.5, "step": 0.25},
    "batch_size": {"low": 10, "high": 100},
    "sharing": {"choices": [False, True]},
    "learning_rate": {"choices": [0.001, 0.01]},
}


@st.composite
def searches(draw):
    """A valid grid with a search, and the number of its given cells."""
    names = draw(st.sets(st.sampled_from(sorted(RANGES)), min_size=1))
    seeds = draw(st.integers(1, 10))
    budget = draw(st.sampled_from([{"trainings": 10}, {"minutes": 1}, {"trainings": 1000, "minutes": 0.5}]))
    search = {"ranges": {name: RANGES[name] for name in names}, "budget": budget, "seed": draw(st.integers(0, 9))}
    grid = {"name": "random", "description": "A search.", "seeds": seeds, "search": search}
    cells = draw(st.lists(st.sampled_from([0.5, 1, 10]), unique=True)) if "aux_weight" in names else []
    if cells:
        grid["cells"] = [{"aux_weight": weight} for weight in cells]
    if "fixed" in draw(st.sampled_from(["fixed", "none"])):
        grid["factors"] = {"max_epochs": {"role": "fixed", "values": [2]}}
    return grid, max(1, len(cells))


def spelt(draw, value):
    """A value as YAML flow text, with its keys in any order and its numbers and switches in any spelling."""
    if isinstance(value, dict):
        pairs = draw(st.permutations(list(value.items())))
        return "{" + ", ".join(f"{name}: {spelt(draw, part)}" for name, part in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(spelt(draw, part) for part in value) + "]"
    if isinstance(value, bool):
        return draw(st.sampled_from(["on", "true", "True", "YES"] if value else ["off", "false", "FALSE", "no"]))
    if isinstance(value, str):
        return yaml.safe_dump(value, width=1000, default_style='"').strip()
    return draw(st.sampled_from([repr(value), repr(float(value)), f"{value:e}", f"{value:.3e}", f"+{value}"]))


def ids(path):
    cells = load_grid(path).cells()
    found = {cell.cell_id for cell in cells}
    assert len(found) == len(cells), "a cell is there twice"
    return found


def plan(path, storage):
    """What the command plan shows; raises GridError and StoreError alone."""
    work, resources = RunOptions(grid=path, storage=storage).resolve(), Resources(TrainingOptions(gpus_per_trial=0))
    with redirect_stdout(io.StringIO()) as shown:
        show_plan(work, Machines(1, 2, 0), resources, as_json=False)
    return shown.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "random.yaml"
        path.write_text(text, encoding="utf-8", newline="")
        return str(path)

    return write


@examples
@given(st.data())
def test_valid_grids_have_the_same_cells_however_they_are_spelt(write, data):
    grid, count = data.draw(grids() | searches())
    SCHEMA.validate(grid)
    first = ids(write(yaml.safe_dump(grid, sort_keys=False)))
    assert len(first) == count
    assert ids(write(spelt(data.draw, grid))) == first


@examples
@given(grids() | searches())
def test_valid_grids_are_planned(write, tmp_path, drawn):
    grid, count = drawn
    text = plan(write(yaml.safe_dump(grid, sort_keys=False)), str(tmp_path / "studies"))
    assert f"{count} cells x {grid['seeds']} seeds = {count * grid['seeds']} trials" in text
    assert not (tmp_path / "studies").exists()


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=5)
) | st.sampled_from([*VALUES, "model", "classifier", "values", "role", "when", "set"])
names = scalars.filter(lambda name: name == name)
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=5
)
SYMBOLS = ":-{}[],&*!|>%@`\"'#?~=<\n\t .0e_x"


def broken(draw, node):
    """The grid with something in it replaced, removed, renamed or added."""
    if not node or not isinstance(node, dict | list) or draw(st.integers(0, 3)) == 0:
        return draw(junk)
    changed = node.copy()
    key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
    how = draw(st.sampled_from(["deeper"] * 4 + ["removed", "added", "renamed"]))
    if how == "deeper":
        changed[key] = broken(draw, node[key])
    elif how == "removed":
        del changed[key]
    elif isinstance(node, list):
        changed.append(draw(junk) if how == "added" else node[key])
    else:
        name = draw(names)
        changed[name] = draw(junk) if how == "added" else changed.pop(key)
    return changed


def assert_one_line_or_a_plan(path, storage):
    message = None
    try:
        text = plan(path, storage)
    except (GridError, StoreError) as error:
        message = str(error)
    if message is None:
        assert f"{len(ids(path))} cells x " in text
    else:
        assert message.splitlines() == [message]
        assert message.isprintable()


@examples
@given(st.data())
def test_broken_grids_are_refused_in_one_line(write, tmp_path, data):
    grid, _ = data.draw(grids() | searches())
    for _ in range(data.draw(st.integers(1, 3))):
        grid = broken(data.draw, grid)
    text = yaml.dump(grid, Dumper=yaml.SafeDumper, allow_unicode=data.draw(st.booleans()), sort_keys=False)
    assert_one_line_or_a_plan(write(text), str(tmp_path / "studies"))


@examples
@given(st.data())
def test_broken_text_is_refused_in_one_line(write, tmp_path, data):
    text = yaml.safe_dump(data.draw(grids() | searches())[0], sort_keys=False)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 10))
        symbols = st.sampled_from(SYMBOLS) | st.characters(codec="utf-8")
        text = text[:start] + data.draw(st.text(symbols, max_size=4)) + text[end:]
    assert_one_line_or_a_plan(write(text), str(tmp_path / "studies"))
