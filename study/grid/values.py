"""The settings of a cell as people write them: their names and types are those of the model that a grid file names."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from study.grid.yaml_text import At, PlacedError
from study.words import Value, format_value, meant
from trainables.config import CellSettings
from trainables.registry import BUILT_IN, ModelError, default_settings, settings_class

_DEFAULT = default_settings()
_class: ContextVar[type[CellSettings]] = ContextVar("class of the settings", default=_DEFAULT)


@contextmanager
def settings_of(cls: type[CellSettings]) -> Iterator[None]:
    """Within it, settings are those of this class: a grid file's validation reaches into types that know no grid."""
    token = _class.set(cls)
    try:
        yield
    finally:
        _class.reset(token)


def class_of(content: Any) -> type[CellSettings]:
    """Return the class of the settings of a grid file, of which nothing is known to be right; raise PlacedError."""
    found: type[CellSettings] | None = None
    for model, at in _models(content):
        if not isinstance(model, str):
            continue  # for the validation of settings to tell
        if ":" not in model and model not in BUILT_IN:
            expected = f"expected {' or '.join(BUILT_IN)}, or module:Class of a model of your own"
            raise PlacedError(f"{expected}, not {model!r}", *at)
        try:
            settings = settings_class(model)
        except ModelError as error:
            raise PlacedError(str(error).removeprefix(f"model {model}: "), *at) from None
        if found not in (None, settings):
            raise PlacedError(f"{model} has other settings than the models before it; give it a grid of its own", *at)
        found = settings
    return found or default_settings()


def _models(content: Any) -> Iterator[tuple[Any, At]]:
    """Yield the models that a grid file names, and where, as far as it is of use: the rest is found out later."""
    content = content if isinstance(content, Mapping) else {}
    protocol, factors, cells = (content.get(key) for key in ("protocol", "factors", "cells"))
    if isinstance(protocol, Mapping):
        yield protocol.get("model"), ("protocol", "model")
    factor = factors.get("model") if isinstance(factors, Mapping) else None
    values = factor.get("values") if isinstance(factor, Mapping) else None
    for index, value in enumerate(values if isinstance(values, list) else ()):
        yield value, ("factors", "model", "values", index)
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        if isinstance(cell, Mapping):
            yield cell.get("model"), ("cells", index, "model")


def current_class() -> type[CellSettings]:
    """Return the class whose settings are meant."""
    return _class.get()


def typed(name: str, value: Value) -> Value:
    """Return a value as the setting has it, so that 1, 1.0 and 1e0 are one value; raise PlacedError."""
    fields = current_class().model_fields
    if name not in fields:
        raise PlacedError(f"unknown setting; {meant(name, fields)}", name)
    switch = fields[name].annotation is bool
    try:
        return _setting(current_class(), name).validate_python(value, strict=switch or isinstance(value, bool | str))
    except ValidationError as error:
        expected = "expected on or off" if switch else error.errors()[0]["msg"].replace("Input should be", "expected")
        raise PlacedError(f"{expected}, not {_quoted(value)}", name) from None


@cache
def _setting(cls: type[CellSettings], name: str) -> TypeAdapter[Value]:
    field = cls.model_fields[name]
    return TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]


def _scalar(value: Any) -> Any:
    if not isinstance(value, Value):
        raise PlacedError(f"expected a number, a word, on or off, not {'nothing' if value is None else 'several'}")
    return value


def _typed_settings(settings: dict[str, Value]) -> dict[str, Value]:
    return {name: typed(name, value) for name, value in settings.items()}


Scalar = Annotated[Value, BeforeValidator(_scalar)]
Settings = Annotated[dict[str, Scalar], AfterValidator(_typed_settings), Field(json_schema_extra={"settings": True})]
Condition = Annotated[Settings, Field(min_length=1)]


def _quoted(value: Value) -> str:
    return repr(value) if isinstance(value, str) else format_value(value)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole)]  # 1e1 is 10


class Strict(BaseModel):
    """A part of a grid file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in content if isinstance(content, dict) else ():
            if key not in known:
                raise PlacedError(f"unknown key; {meant(str(key), known)}", key)
        return content
