"""What the parts of a grid file have in common: unknown keys are refused, and 1e1 is a whole number."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from study.spelling import meant
from study.yamlfile import PlacedError


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
