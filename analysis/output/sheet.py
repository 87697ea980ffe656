"""What a table is: a sheet, which every format is written from; and numbers as texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Any

from analysis.stored import StoredMetric

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection
NONE = "–"  # what people read if a value is unknown


@dataclass(frozen=True)
class Column:
    """A heading, and how a row of raw values becomes a text; columns of a ``setting`` come first."""

    heading: str
    text: Callable[[Mapping[str, Any]], str]
    numeric: bool = False
    setting: bool = False

    def is_empty_in(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether no row has a text here."""
        return all(self.text(row) in ("", NONE) for row in rows)


@dataclass(frozen=True)
class Sheet:
    """A table: ``rows`` are raw values for programs, ``columns`` say what people read of them.

    ``name`` is the stem of its files. Metrics are in ``rows`` as they are stored, in the texts
    in their unit. An unknown value is None. If ``listed`` is given, people read only the rows
    at these places.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()
    listed: tuple[int, ...] | None = None

    @cached_property
    def texts(self) -> list[list[str]]:
        """What people read, row by row."""
        # Once, since every format and the widths of its columns ask for them.
        texts = []
        for row in self._listed_rows:
            texts.append([column.text(row) or NONE for column in self.visible_columns])
        return texts

    @cached_property
    def visible_columns(self) -> tuple[Column, ...]:
        """The columns that people read: all but columns of words that no row fills."""
        rows = self._listed_rows
        return tuple(column for column in self.columns if column.numeric or not rows or not column.is_empty_in(rows))

    @property
    def _listed_rows(self) -> Sequence[Mapping[str, Any]]:
        return self.rows if self.listed is None else [self.rows[place] for place in self.listed]


def spreadsheet_text(value: Any) -> Any:
    """Return a value for a cell of a CSV; a text that a spreadsheet would run as a formula gets an apostrophe."""
    if not isinstance(value, str) or not value.startswith(FORMULA_SIGNS):
        return value
    try:
        float(value)  # -0.5 is a number in a spreadsheet too
    except ValueError:
        return f"'{value}"
    return value


def percent(value: float | None, sign: bool = False) -> str:
    """Write a fraction in percent, a difference in percentage points; a dash for None and NaN."""
    if value is None or isnan(value):
        return NONE
    # Rounded first, so that means of values added up in another order are written alike.
    rounded = round(100 * value, 9)
    return f"{rounded:+.1f}" if sign else f"{rounded:.1f}"


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """Write the ends of an interval as ``percent`` does; a dash for None and NaN."""
    ends = (percent(low, sign), percent(high, sign))
    return NONE if NONE in ends else " to ".join(ends)


def probability(value: float | None) -> str:
    """Write a p value; a dash for None and NaN."""
    if value is None or isnan(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def in_unit(metric: StoredMetric, power: str = "") -> str:
    """Return ``in`` and the unit of a metric's differences, with a blank before; nothing without a unit."""
    unit = "percentage points" if metric.unit == "%" else metric.unit
    return f" in {power}{unit}" if unit else ""


def direction(metric: StoredMetric) -> str:
    """Say, with a blank before, that negative differences are better; nothing if positive ones are."""
    return "" if metric.sign > 0 else " Less is better: a negative difference is an improvement."


def ends(metric: StoredMetric, low: float | None, high: float | None, sign: str = "") -> str:
    """Write the ends of an interval of a metric as its ``number`` does; nothing for None and NaN."""
    numbers = [metric.number(low, sign), metric.number(high, sign)]
    return " to ".join(numbers) if all(numbers) else ""


def gain_columns(metric: StoredMetric) -> tuple[Column, Column]:
    """Return what a difference is and how well it is known, of rows with ``mean``, ``low`` and ``high``."""
    points = metric.difference_unit == "points"
    heading = "points" if points else f"difference, {metric.unit}".removesuffix(", ")
    return (
        Column(heading, lambda row: metric.number(row["mean"], "+"), numeric=True),
        Column("95 % interval", lambda row: ends(metric, row["low"], row["high"], "+"), numeric=True),
    )
