"""The settings in a grid file: names and types are those of the model that the file names.

A grid file is validated with the class of these settings as pydantic's validation context,
since the types of its parts know nothing of the grid that they are in.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from study.grid.yaml_text import At, PlacedError
from study.words import Value, format_value, suggest
from trainables.config import TrainingSettings
from trainables.registry import BUILT_IN, ModelError, default_settings, settings_class


def find_settings_class(content: Any) -> type[TrainingSettings]:
    """Return the settings' class of an unchecked grid file; raise PlacedError for an unusable model."""
    found = None
    for model, at in _models(content):
        if not isinstance(model, str):
            continue  # the validation of settings reports it
        if ":" not in model and model not in BUILT_IN:
            expected = f"expected {' or '.join(BUILT_IN)}, or module:Class of your own model"
            raise PlacedError(f"{expected}, not {model!r}", *at)
        try:
            settings = settings_class(model)
        except ModelError as error:
            raise PlacedError(str(error).removeprefix(f"model {model}: "), *at) from None
        if found not in (None, settings):
            problem = "has other settings than the models before it; write another grid for it"
            raise PlacedError(f"{model} {problem}", *at)
        found = settings
    return found or default_settings()


def _models(content: Any) -> Iterator[tuple[Any, At]]:
    """Yield the models that a grid file names, and where; malformed ones are reported later."""
    yield entry(content, "protocol", "model"), ("protocol", "model")
    values = entry(content, "factors", "model", "values")
    for index, value in enumerate(values if isinstance(values, list) else ()):
        yield value, ("factors", "model", "values", index)
    cells = entry(content, "cells")
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        yield entry(cell, "model"), ("cells", index, "model")


def entry(content: Any, *keys: str) -> Any:
    """Return what is under these keys of content that has not been checked, or None."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def context_class(info: ValidationInfo) -> type[TrainingSettings]:
    """Return the class of the settings, which validation carries as its context."""
    assert info.context is not None, "a part of a grid file is validated with the whole grid"
    return cast("type[TrainingSettings]", info.context)


def typed(cls: type[TrainingSettings], name: str, value: Value, *at: str | int) -> Value:
    """Return a value as the setting has it (1 and 1e0 are the same); raise PlacedError, ``at`` below it."""
    check_setting(cls, name)
    switch = cls.model_fields[name].annotation is bool
    # Numbers may be converted (1 to 1.0, 1e1 to 10). Text and switches must be what they are.
    strict = switch or isinstance(value, bool | str)
    try:
        return _adapter(cls, name).validate_python(value, strict=strict)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].replace("Input should be", "expected")
        given = repr(value) if isinstance(value, str) else format_value(value)
        raise PlacedError(f"{'expected on or off' if switch else expected}, not {given}", name, *at) from None


def typed_values(cls: type[TrainingSettings], name: str, given: list[Value], key: str) -> list[Value]:
    """Return the values under a key of a setting, each ``typed``; raise PlacedError if one is there twice."""
    values: dict[Value, None] = {}  # in their order
    for index, one in enumerate(given):
        value = typed(cls, name, one, key, index)
        if value in values:
            raise PlacedError(f"{format_value(value)} is there twice; remove one", name, key, index)
        values[value] = None
    return list(values)


def check_setting(cls: type[TrainingSettings], name: str) -> None:
    """Raise PlacedError if there is no setting of this name."""
    if name not in cls.model_fields:
        raise PlacedError(f"unknown setting; {suggest(name, cls.model_fields)}", name)


@cache
def _adapter(cls: type[TrainingSettings], name: str) -> TypeAdapter[Value]:
    field = cls.model_fields[name]
    return TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]


def _scalar(value: Any) -> Any:
    if isinstance(value, Value):
        return value
    given = "nothing" if value is None else "several"
    raise PlacedError(f"expected a number, a word, on or off, not {given}")


def _typed_settings(settings: dict[str, Value], info: ValidationInfo) -> dict[str, Value]:
    return {name: typed(context_class(info), name, value) for name, value in settings.items()}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Scalar = Annotated[Value, BeforeValidator(_scalar)]
# The JSON Schema lists all settings wherever it finds this mark.
Settings = Annotated[dict[str, Scalar], AfterValidator(_typed_settings), Field(json_schema_extra={"settings": True})]
Condition = Annotated[Settings, Field(min_length=1)]
Count = Annotated[int, BeforeValidator(_whole)]  # 1e1 is 10


def matches(settings: Mapping[str, Any], condition: Mapping[str, Value]) -> bool:
    """Tell whether the settings have all values of a condition."""
    return all(settings[name] == value for name, value in condition.items())


def matches_any(settings: Mapping[str, Any], conditions: Iterable[Mapping[str, Value]]) -> bool:
    """Tell whether the settings match at least one of the conditions."""
    return any(matches(settings, condition) for condition in conditions)


class Strict(BaseModel, frozen=True, extra="forbid", strict=True):
    """A part of a grid file: its keys are known, and it does not change."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in content if isinstance(content, dict) else ():
            if key not in known:
                raise PlacedError(f"unknown key; {suggest(str(key), known)}", key)
        return content
