"""The shipped JSON Schema, checked by another library's reading of it."""

import json
from importlib import resources

import jsonschema
import pytest
import yaml

from study.grid.json_schema import grid_schema, schema_path
from study.grid.load import load_grid
from study.grid.shipped import grid_names
from tests.study.grid.test_grid import SMALL, contrast, explicit, factor
from trainables.digits.settings import CellConfig

SCHEMA = json.loads(schema_path().read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_shipped_schema_is_that_of_the_models():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert grid_schema() == SCHEMA, "write it again: python -m study.grid.json_schema"


@pytest.mark.parametrize("words", ["off and on are switches", "off and on are text, as in YAML 1.2 and most editors"])
@pytest.mark.parametrize("name", grid_names())
def test_it_accepts_the_shipped_grids(name, words):
    text = (resources.files("study.grid.shipped") / f"{name}.yaml").read_text()
    if "text" in words:
        text = text.replace("[off, on]", "['off', 'on']").replace(": on", ": 'on'").replace(": off", ": 'off'")
    grid = yaml.safe_load(text)
    assert ("'on'" in text) == ("text" in words)
    VALIDATOR.validate(grid)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"sede": 3}, []),
        ({"seeds": 0}, ["seeds"]),
        ({"seeds": "ten"}, ["seeds"]),
        ({"factors": {}}, ["factors"]),
        ({"factors": {"sharing": {"values": [True]}}}, ["factors", "sharing"]),
        ({"factors": {"sharing": {"rol": "fixed"}}}, ["factors", "sharing"]),
        (factor([1], name="aux_wieght"), ["factors"]),
        (factor([1], role="nuisance"), ["factors", "aux_weight", "role"]),
        (factor([-1]), ["factors", "aux_weight", "values", 0]),
        (factor([0, 0.0]), ["factors", "aux_weight", "values"]),
        (factor([1], name="dropout"), ["factors", "dropout", "values", 0]),
        (factor([1], name="fixed_data"), ["factors", "fixed_data", "values", 0]),
        (factor(["cifar"], name="data"), ["factors", "data", "values", 0]),
        ({"protocol": {"epochs": 3}}, ["protocol"]),
        ({"protocol": {"max_epochs": 2.5}}, ["protocol", "max_epochs"]),
        ({"skip": [{}]}, ["skip", 0]),
        (explicit({"model": "clasifier"}), ["cells", 0, "model"]),
        ({"rules": [{"when": {"sharing": True}}]}, ["rules", 0]),
        ({"stopping": {"shceduler": "none"}}, ["stopping"]),
        ({"stopping": {"protect": [{"aux_weight": -3}]}}, ["stopping", "protect", 0, "aux_weight"]),
        (contrast([{"sharing": True}], []), ["contrasts", 0, "minus"]),
    ],
)
def test_it_rejects_broken_grids_where_they_are_broken(changes, path):
    VALIDATOR.validate(SMALL)
    errors = list(VALIDATOR.iter_errors(SMALL | changes))
    assert path in [list(error.absolute_path) for error in errors]


def test_every_key_is_described_and_every_setting_offered():
    def properties(node):
        if isinstance(node, dict):
            yield from node.get("properties", {}).items()
            for child in node.values():
                yield from properties(child)
        elif isinstance(node, list):
            for child in node:
                yield from properties(child)

    described = dict(properties(SCHEMA))
    assert described.keys() >= set(CellConfig.model_fields) | {"factors", "role", "when", "plus", "grace_period"}
    assert [name for name, of in properties(SCHEMA) if not of.get("description")] == []
    settings = SCHEMA["$defs"]["settings"]["properties"]
    assert {name: of["default"] for name, of in settings.items()} == CellConfig().model_dump()


def test_the_shipped_files_say_what_the_schema_says_of_them():
    """What the loader reads and what the schema allows are one language: cells, with the schema's own defaults."""
    for name in grid_names():
        for cell in load_grid(name).cells():
            jsonschema.validate(cell.model_dump(), SCHEMA["$defs"]["settings"])
