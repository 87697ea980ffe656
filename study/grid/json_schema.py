"""The JSON Schema of grid files, which lets editors complete and check them.

``python -m study.grid.json_schema`` writes the shipped one from the models that read grid files.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from study.grid.grid import Grid
from trainables.registry import settings_class

Schema = dict[str, Any]


def schema_path() -> Path:
    """Return the path of the shipped schema."""
    return Path(str(resources.files("study.grid.shipped") / "grid.schema.json"))


def grid_schema(model: str = "comparator") -> Schema:
    """Return the schema of a model's grids, with its settings wherever a grid has any; raise ModelError."""
    schema = Grid.model_json_schema()
    written = settings_class(model).model_json_schema()["properties"]
    settings = {name: _as_written(of) for name, of in written.items()}
    # A dictionary of factors or ranges has no fixed keys in pydantic's schema. Here its keys are the
    # settings, each with its own types, so that an editor completes and checks them too.
    factor = schema["$defs"].pop("Factor")
    factors = {name: _factor(factor, name, of.get("description", name)) for name, of in settings.items()}
    _give_keys(schema["properties"]["factors"], factors)
    searched = schema["$defs"].pop("Range")
    ranges = {name: _searched(searched, name, of.get("description", name)) for name, of in settings.items()}
    _give_keys(schema["$defs"]["Search"]["properties"]["ranges"], ranges)
    of_objective = schema["properties"]["objective"]
    names = [metric.name for metric in settings_class(model).metrics]
    schema["properties"]["objective"] = {"description": of_objective["description"], "enum": names}
    # A search makes its own factors.
    schema["required"].remove("factors")
    schema["anyOf"] = [{"required": ["factors"]}, {"required": ["search"]}]
    _refer_to_settings(schema)
    schema["$defs"]["settings"] = {"type": "object", "properties": settings, "additionalProperties": False}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Grid of an ablation study"}


def _give_keys(node: Schema, keys: Schema) -> None:
    """Let a dictionary have just these keys, at least one of them."""
    del node["minLength"]  # what pydantic makes of a dictionary's min_length after a validator
    node |= {"properties": keys, "additionalProperties": False, "minProperties": 1}


def _as_written(setting: Schema) -> Schema:
    """Return a setting's schema; editors follow YAML 1.2, in which off and on are text."""
    switch = {"type": ["boolean", "string"], "enum": [False, True, "off", "on"]}
    kept = {key: value for key, value in setting.items() if key != "title"}
    return kept | switch if setting.get("type") == "boolean" else kept


def _factor(factor: Schema, name: str, description: str) -> Schema:
    items = {"items": {"$ref": f"#/$defs/settings/properties/{name}"}, "uniqueItems": True}
    properties = factor["properties"] | {"values": factor["properties"]["values"] | items}
    return factor | {"title": name, "description": description, "properties": properties}


def _searched(given: Schema, name: str, description: str) -> Schema:
    setting: Schema = {"$ref": f"#/$defs/settings/properties/{name}"}
    kinds: dict[str, Schema] = {
        "low": setting,
        "high": setting,
        "log": {"type": "boolean"},
        "step": {"type": "number", "exclusiveMinimum": 0},
        "choices": {"type": "array", "items": setting, "minItems": 2, "uniqueItems": True},
    }
    properties = {key: {"description": given["properties"][key]["description"]} | kind for key, kind in kinds.items()}
    searched = {"title": name, "description": description, "properties": properties}
    alternatives = {"oneOf": [{"required": ["low", "high"]}, {"required": ["choices"]}]}
    return {"type": "object", "additionalProperties": False, **searched, **alternatives}


def _refer_to_settings(node: Any) -> None:
    """Put a reference wherever the models have settings, which they mark."""
    if isinstance(node, list):
        for child in node:
            _refer_to_settings(child)
    if isinstance(node, dict) and node.pop("settings", False):
        del node["additionalProperties"]
        node["$ref"] = "#/$defs/settings"
        if node.pop("minLength", 0):
            node["minProperties"] = 1
    elif isinstance(node, dict):
        for child in node.values():
            _refer_to_settings(child)


if __name__ == "__main__":
    schema_path().write_text(json.dumps(grid_schema(), indent=1) + "\n", encoding="utf-8")
