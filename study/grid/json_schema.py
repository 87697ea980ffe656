"""The JSON Schema of grid files, by which editors complete and check them.

``python -m study.grid.shippedchema`` writes the one that is shipped, from the models that read grid files.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from study.grid.grid import Grid
from trainables.registry import settings_class


def schema_path() -> Path:
    """Return where the shipped schema is."""
    return Path(str(resources.files("study.grid.shipped") / "grid.schema.json"))


def grid_schema(model: str = "comparator") -> dict[str, Any]:
    """Return the schema of grids of a model, with the settings of a cell wherever a grid file names them.

    Raises ModelError.
    """
    schema = Grid.model_json_schema()
    settings = {name: _as_written(of) for name, of in settings_class(model).model_json_schema()["properties"].items()}
    factor, factors = schema["$defs"].pop("Factor"), schema["properties"]["factors"]
    del factors["minLength"]
    factors |= {
        "properties": {name: _factor(factor, name, of.get("description", name)) for name, of in settings.items()},
        "additionalProperties": False,
        "minProperties": 1,
    }
    searched, ranges = schema["$defs"].pop("Range"), schema["$defs"]["Search"]["properties"]["ranges"]
    del ranges["minLength"]
    ranges |= {
        "properties": {name: _searched(searched, name, of["description"]) for name, of in settings.items()},
        "additionalProperties": False,
        "minProperties": 1,
    }
    schema["required"].remove("factors")
    schema["anyOf"] = [{"required": ["factors"]}, {"required": ["search"]}]
    _refer_to_settings(schema)
    schema["$defs"]["settings"] = {"type": "object", "properties": settings, "additionalProperties": False}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Grid of an ablation study"}


def _as_written(setting: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a setting; editors follow YAML 1.2, to which off and on are text."""
    switch = {"type": ["boolean", "string"], "enum": [False, True, "off", "on"]}
    kept = {key: value for key, value in setting.items() if key != "title"}
    return kept | switch if setting.get("type") == "boolean" else kept


def _factor(factor: dict[str, Any], name: str, description: str) -> dict[str, Any]:
    items = {"items": {"$ref": f"#/$defs/settings/properties/{name}"}, "uniqueItems": True}
    properties = factor["properties"] | {"values": factor["properties"]["values"] | items}
    return factor | {"title": name, "description": description, "properties": properties}


def _searched(given: dict[str, Any], name: str, description: str) -> dict[str, Any]:
    setting: dict[str, Any] = {"$ref": f"#/$defs/settings/properties/{name}"}
    kinds: dict[str, dict[str, Any]] = {
        "low": setting,
        "high": setting,
        "log": {"type": "boolean"},
        "step": {"type": "number", "exclusiveMinimum": 0},
        "choices": {"type": "array", "items": setting, "minItems": 2, "uniqueItems": True},
    }
    properties = {key: {"description": given["properties"][key]["description"]} | kind for key, kind in kinds.items()}
    alternatives = [{"required": ["low", "high"]}, {"required": ["choices"]}]
    told = {"title": name, "description": description, "properties": properties, "oneOf": alternatives}
    return {key: given[key] for key in ("type", "additionalProperties")} | told


def _refer_to_settings(node: Any) -> None:
    """Put a reference wherever the models have settings, which they mark."""
    if isinstance(node, list):
        for child in node:
            _refer_to_settings(child)
    if isinstance(node, dict) and node.pop("settings", False):
        del node["additionalProperties"]
        node["$ref"] = "#/$defs/settings"
        if node.pop("minLength", 0):  # what pydantic makes of a dictionary's min_length after a validator
            node["minProperties"] = 1
    elif isinstance(node, dict):
        for child in node.values():
            _refer_to_settings(child)


if __name__ == "__main__":
    schema_path().write_text(json.dumps(grid_schema(), indent=1) + "\n", encoding="utf-8")
