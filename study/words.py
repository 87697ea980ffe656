"""How values, settings and times are written for people; what a misspelt word may mean."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any

Value = bool | int | float | str  # what a setting may be


def suggest(word: str, known: Iterable[str], others: Iterable[str] = ()) -> str:
    """Return a hint: the nearest of all words, or a list of the known ones if none is near."""
    known = list(known)
    near = get_close_matches(word, [*known, *others], n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


def flaw_of(value: Any) -> str:
    """Say why a value can be no setting, number or name of a file, whatever it is for; nothing if it can."""
    if isinstance(value, float):
        return "" if isfinite(value) else "expected a finite number"
    try:
        return "expected text without NUL characters" if b"\0" in str(value).encode() else ""
    except UnicodeEncodeError:
        return "expected text in UTF-8"


def format_duration(seconds: float) -> str:
    """Write a time in minutes and seconds, or in seconds if it is under a minute."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_counts(counts: Mapping[str, int]) -> str:
    """Write counts by kind, such as ``2 finished, 1 failed``, without those of 0."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def format_value(value: Value) -> str:
    """Write a setting as a grid file does: off and on, and no needless decimals."""
    if isinstance(value, bool):
        return "on" if value else "off"
    from analysis.stored import format_number  # here: help and completion print no values

    return format_number(value) if isinstance(value, float) else str(value)


def describe_settings(settings: Mapping[str, Value]) -> str:
    """Write settings in one line, such as ``sharing on, dropout 0.5``."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in settings.items())
