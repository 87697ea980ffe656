"""The settings of a cell as people write them: their names and the types of their values are CellConfig's."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from study.spelling import meant
from study.yamlfile import PlacedError
from trainables.config import CellConfig

Value = bool | int | float | str


def typed(name: str, value: Value) -> Value:
    """Return a value as the setting has it, so that 1, 1.0 and 1e0 are one value; raise PlacedError."""
    if name not in CellConfig.model_fields:
        raise PlacedError(f"unknown setting; {meant(name, CellConfig.model_fields)}", name)
    switch = CellConfig.model_fields[name].annotation is bool
    try:
        return _setting(name).validate_python(value, strict=switch or isinstance(value, bool | str))
    except ValidationError as error:
        expected = "expected on or off" if switch else error.errors()[0]["msg"].replace("Input should be", "expected")
        raise PlacedError(f"{expected}, not {_quoted(value)}", name) from None


@cache
def _setting(name: str) -> TypeAdapter[Value]:
    field = CellConfig.model_fields[name]
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


def format_value(value: Value) -> str:
    """Write a setting as a grid file does: off and on, and no needless decimals."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe(settings: Mapping[str, Value]) -> str:
    """Write settings in a line."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in settings.items())


def _quoted(value: Value) -> str:
    return repr(value) if isinstance(value, str) else format_value(value)
