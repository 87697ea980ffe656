"""A sheet: a plain table with one text a value, written to the screen, Markdown, CSV and LaTeX alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A column of what people read: its heading, and how a row of raw values becomes its text.

    A ``setting`` of a cell stands before all that is not one.
    """

    heading: str
    text: Callable[[Mapping[str, Any]], str]
    numeric: bool = False
    setting: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: ``rows`` hold raw values by name for programs, ``columns`` say what people read of them.

    ``name`` is the stem of its files. Accuracies and their differences are fractions in ``rows``, percent and points
    in the texts. An unknown value is None. Where ``shown`` is given, people read the rows at these places alone; a
    column of words in which no row has any is not read either.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    shown: tuple[int, ...] | None = None

    @cached_property
    def texts(self) -> list[list[str]]:
        """What people read, row by row."""
        return [[column.text(row) or NONE for column in self.read] for row in self._rows]

    @cached_property
    def read(self) -> tuple[Column, ...]:
        """The columns that people read."""
        return tuple(
            column
            for column in self.columns
            if column.numeric or not self._rows or any(column.text(row) not in ("", NONE) for row in self._rows)
        )

    @property
    def _rows(self) -> Sequence[Mapping[str, Any]]:
        return self.rows if self.shown is None else [self.rows[place] for place in self.shown]


def percent(value: float | None, sign: bool = False) -> str:
    """Write a fraction in percent, or a difference of fractions in points; a dash for None.

    Means of the same accuracies, added up in another order, are written alike.
    """
    return NONE if value is None or value != value else f"{round(100 * value, 9):{'+' if sign else ''}.1f}"


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """Write the ends of an interval of fractions in percent or points; a dash for None."""
    if low is None or high is None or low != low or high != high:
        return NONE
    return f"{percent(low, sign)} to {percent(high, sign)}"


def probability(value: float | None) -> str:
    """Write a p value."""
    if value is None or value != value:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
