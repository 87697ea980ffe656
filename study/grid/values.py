"""The settings in a grid file: names and types are those of the models that the file names.

A grid file is validated with its models and their settings as pydantic's validation context,
since the types of its parts know nothing of the grid that they are in.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
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

from analysis.stored import EPOCH_COLUMNS, SETTING_COLUMNS, TRIAL_COLUMNS
from study.grid.yaml_text import At, PlacedError
from study.words import Value, format_value, suggest
from trainables.config import TrainingSettings
from trainables.registry import BUILT_IN, ModelError, default_settings, settings_class

Models = Mapping[str, type[TrainingSettings]]  # a grid's models by name, with the classes of their settings


def find_models(content: Any) -> Models:
    """Return the models of an unchecked grid file; raise PlacedError for one that cannot be used."""
    found = {}
    for model, at in _models(content):
        if not isinstance(model, str):
            continue  # the validation of settings reports it
        if ":" not in model and model not in BUILT_IN:
            expected = f"expected {' or '.join(BUILT_IN)}, or module:Class or module:function of your own"
            raise PlacedError(f"{expected}, not {model!r}", *at)
        try:
            found[model] = settings_class(model)
        except ModelError as error:
            raise PlacedError(str(error).removeprefix(f"model {model}: "), *at) from None
    usual = default_settings()
    return found or {usual.model_fields["model"].default: usual}


def _models(content: Any) -> Iterator[tuple[Any, At]]:
    """Yield the models that a grid file names, and where; malformed ones are reported later."""
    yield entry(content, "protocol", "model"), ("protocol", "model")
    for at in (("factors", "model", "values"), ("search", "ranges", "model", "choices")):
        values = entry(content, *at)
        for index, value in enumerate(values if isinstance(values, list) else ()):
            yield value, (*at, index)
    cells = entry(content, "cells")
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        yield entry(cell, "model"), ("cells", index, "model")


def entry(content: Any, *keys: str) -> Any:
    """Return what is under these keys of content that has not been checked, or None."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def context_models(info: ValidationInfo) -> Models:
    """Return the models of the grid, which validation carries as its context."""
    assert info.context is not None, "a part of a grid file is validated with the whole grid"
    return cast(Models, info.context)


def typed(models: Models, name: str, value: Value, *at: str | int) -> Value:
    """Return a value as the setting has it (1 and 1e0 are the same); raise PlacedError, ``at`` below it."""
    check_setting(models, name)
    classes = dict.fromkeys(models.values())
    # Of several classes, each knows its own models only.
    if name == "model" and len(classes) > 1:
        if value not in models:
            raise PlacedError(f"no model of this grid; {suggest(str(value), models)}", name, *at)
        return value
    # All that have the setting have to take the value.
    values = [_typed(cls, name, value, *at) for cls in classes if name in cls.model_fields]
    return values[0]


def _typed(cls: type[TrainingSettings], name: str, value: Value, *at: str | int) -> Value:
    switch = cls.model_fields[name].annotation is bool
    # Numbers may be converted (1 to 1.0, 1e1 to 10). Text and switches must be what they are.
    strict = switch or isinstance(value, bool | str)
    try:
        return _adapter(cls, name).validate_python(value, strict=strict)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].replace("Input should be", "expected")
        given = repr(value) if isinstance(value, str) else format_value(value)
        raise PlacedError(f"{'expected on or off' if switch else expected}, not {given}", name, *at) from None


def typed_values(models: Models, name: str, given: list[Value], key: str) -> list[Value]:
    """Return the values under a key of a setting, each ``typed``; raise PlacedError if one is there twice."""
    values: dict[Value, None] = {}  # in their order
    for index, one in enumerate(given):
        value = typed(models, name, one, key, index)
        if value in values:
            raise PlacedError(f"{format_value(value)} is there twice; remove one", name, key, index)
        values[value] = None
    return list(values)


def check_setting(models: Models, name: str) -> None:
    """Raise PlacedError if no model has a setting of this name."""
    known = dict.fromkeys(chain.from_iterable(cls.model_fields for cls in models.values()))
    if name not in known:
        raise PlacedError(f"unknown setting; {suggest(name, known)}", name)


def check_factor(models: Models, name: str) -> None:
    """Raise PlacedError for what cannot vary: all models have it, of one type, and it is no other column."""
    check_setting(models, name)
    first = next(iter(models))
    for model, cls in models.items():
        if name not in cls.model_fields:
            fix = "a factor is a setting of all models; set it in protocol or rules"
            raise PlacedError(f"{model} has no such setting; {fix}", name)
        usual, own = models[first].kind_of(name).__name__, cls.kind_of(name).__name__
        if usual != own:
            raise PlacedError(f"{first} has it as {usual}, {model} as {own}; let both have one type", name)
        columns = {*TRIAL_COLUMNS, *EPOCH_COLUMNS, *cls.trial_figures(), *cls.epoch_figures()}
        if name in columns - SETTING_COLUMNS.keys():
            raise PlacedError("every study has another column of this name; rename the setting", name)


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
    return {name: typed(context_models(info), name, value) for name, value in settings.items()}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Scalar = Annotated[Value, BeforeValidator(_scalar)]
# The JSON Schema lists all settings wherever it finds this mark.
Settings = Annotated[dict[str, Scalar], AfterValidator(_typed_settings), Field(json_schema_extra={"settings": True})]
Condition = Annotated[Settings, Field(min_length=1)]
Count = Annotated[int, BeforeValidator(_whole)]  # 1e1 is 10


def matches(settings: Mapping[str, Any], condition: Mapping[str, Value]) -> bool:
    """Tell whether the settings have all values of a condition."""
    return all(settings.get(name) == value for name, value in condition.items())


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
