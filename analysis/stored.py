"""What ``study/`` writes and ``analysis/`` reads: statuses, columns, and the content of study.json."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Any, Self

SCHEMA_VERSION = 1

# How a trial can end, with its rank. Where a trial has rows in several parts of the store,
# the one with the lowest rank counts. Rank 0 is finished: nothing replaces such a row.
RANK = {"completed": 0, "converged": 0, "pruned": 1, "failed": 2}
FINISHED = tuple(status for status, rank in RANK.items() if rank == 0)
UNFINISHED = tuple(status for status in RANK if status not in FINISHED)
# People read these counts of trials: how a training finished makes no difference to them.
COUNTED = ("finished", *UNFINISHED)

# Settings that are columns of trials, with their types. A cell whose model does not store a
# setting as a column has null there; study.json has all settings of all cells.
SETTING_COLUMNS: dict[str, type] = {
    "model": str,
    "sharing": bool,
    **dict.fromkeys(("aux_weight", "dropout", "learning_rate"), float),
}
# When and where a trial was trained. Two trainings with the same bits differ in nothing else.
MADE_BY = ("code_id", "data_sha256", "torch_version")
CIRCUMSTANCES = {*MADE_BY, "study", "device", "error", "train_time_s", "started_at", "finished_at"}

# Columns of every study; those of its metrics come after val_loss.
TRIAL_COLUMNS = (
    *("study", "cell_id", "trial_id", *SETTING_COLUMNS, "seed", "status", "epochs", "best_epoch", "val_loss"),
    *("train_time_s", "device", *MADE_BY, "error", "started_at", "finished_at"),
)
EPOCH_COLUMNS = ("cell_id", "trial_id", "seed", "epoch", "learning_rate", "train_loss", "val_loss")

# The parts of the data, in words.
PART_IN_WORDS = {"train": "training", "val": "validation", "test": "test"}

CONFIRMATION = "-confirm"  # ends the name of a confirmation

# The keys of study.json and their types in JSON; a study without a value for an optional one lacks the key.
REQUIRED = {
    **dict.fromkeys(("study", "grid"), str),
    **dict.fromkeys(("cells", "seeds", "runs"), list),
    **dict.fromkeys(("roles", "protocol"), dict),
}
OPTIONAL = {
    **{"description": str, "contrasts": list, "networks": list, "search": dict, "confirms": str},
    **{"metrics": list, "objective": str, "selected_by": str, "orders": dict, "draw": dict},
    **{"replicate": dict, "further_seeds": dict},
}

# The roles of a factor. Where grids of a study differ, the first of these counts: what was compared stays compared.
ROLES = ("scientific", "tuned", "fixed")
NAMES_OF_KINDS = {str: "a text", dict: "an object", (int, float): "a number"}
# What the items of its lists, and a search, must have.
ITEMS: dict[str, dict[str, Any]] = {
    "cells": {"cell_id": str, "model": str},
    "runs": {},
    "contrasts": {"name": str},
    "networks": {"model": str},
    "metrics": {"name": str, "goal": str, "unit": str, "scale": (int, float)},
}
MOST = 10**9  # above all seeds


class AnalysisError(Exception):
    """A study that cannot be analysed as asked: one line with what is wrong, what is expected, and the fix."""


class OtherSchemaError(ValueError):
    """The study.json of another version of this program."""


def format_number(value: float) -> str:
    """Write the number of a setting without needless decimals, but with every digit that tells it from others."""
    text = f"{value:g}"
    return text if float(text) == value else str(value)


@dataclass(frozen=True)
class StoredMetric:
    """A metric of a study: ``goal`` is "max" or "min"; ``scale`` times what is stored is in its ``unit``."""

    name: str
    goal: str = "max"
    unit: str = ""
    scale: float = 1.0

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is."""
        return 1 if self.goal == "max" else -1

    @property
    def label(self) -> str:
        """The name as people read it."""
        return self.name.replace("_", " ")

    def column(self, part: str) -> str:
        """Return its column for a part of the data: train, val or test."""
        return f"{part}_{self.name}"

    def in_words(self, part: str) -> str:
        """Return what people call it on a part of the data, such as ``validation accuracy``."""
        return f"{PART_IN_WORDS[part]} {self.label}"

    def heading(self, part: str) -> str:
        """Return its words and its unit, for a table or an axis."""
        return f"{self.in_words(part)}, {self.unit}".removesuffix(", ")

    def best_mean(self, part: str = "val") -> str:
        """What the best cell has of it, such as ``highest mean validation accuracy``."""
        return f"{'highest' if self.goal == 'max' else 'lowest'} mean {self.in_words(part)}"

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two values."""
        return "points" if self.unit == "%" else self.unit

    def number(self, value: float | None, sign: str = "") -> str:
        """Write a stored value without its unit, nothing for None or NaN; with ``sign`` "+", always with a sign.

        A percentage has one decimal, any other value four significant digits.
        """
        if value is None or math.isnan(value):
            return ""
        # Means of values that were added up in another order are written alike.
        scaled = float(f"{self.scale * value:.12g}")
        if self.unit == "%":
            return f"{scaled:{sign}z.1f}"
        # Rounded first: 9.9999 has the digits of 10.
        exponent = int(f"{scaled:.3e}".partition("e")[2]) if math.isfinite(scaled) else 0
        shown = f"z.{max(0, 3 - exponent)}f" if exponent > -5 else ".3e"
        return f"{scaled:{sign}{shown}}" if scaled else "0"

    def format(self, value: float | None) -> str:
        """Write a stored value as people read it, such as ``81.3 %`` or ``0.4567``; nothing for None or NaN."""
        return f"{self.number(value)} {self.unit}".strip() if self.number(value) else ""

    def format_difference(self, value: float | None) -> str:
        """Write a difference of two stored values, such as ``+1.3 points``; nothing for None or NaN."""
        number = self.number(value, "+")
        return f"{number} {self.difference_unit}".strip() if number else ""


# What studies report that were run before metrics were stored.
FIRST_METRICS = tuple(
    StoredMetric(name, "max", "%", 100.0) for name in ("accuracy", "digit_accuracy", "accuracy_by_probability")
)


@dataclass(frozen=True)
class StudyInfo:
    """The content of study.json: what a study is about, and where its results come from.

    ``study`` and ``grid`` are names, and ``description`` is the grid's. ``roles`` has the role of each
    factor. ``cells`` has each cell's settings and its ``cell_id``, ``protocol`` the settings that all cells
    share. ``seeds`` are those of every cell. ``runs`` says when, where and with which code each run was.
    ``contrasts`` are the comparisons that the grid names, ``networks`` the layers of each network,
    ``search`` the ranges and the budget of a search. ``confirms`` is the study whose chosen cells this
    one trains again. ``replicate`` are the looks, the margin (in the objective's unit) and the alpha by which
    its contrasts are decided, and ``further_seeds`` those that a cell has got beside ``seeds`` to decide them,
    by cell id. ``metrics`` are what its models report, and ``objective`` names the one that
    selection, early stopping and search go by. ``selected_by`` is "test" if imported trainings have no
    validation part. ``orders`` are those of names in the grids of several runs (``analysis.settings``).
    ``draw`` says what data the seeds have: ``each_seed`` is "fresh", "resplit" (with ``test_per_train``) or
    "same"; None if unknown. ``others`` keeps the keys that this version does not know.
    """

    study: str
    grid: str
    roles: Mapping[str, str]
    cells: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    protocol: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    description: str = ""
    contrasts: tuple[Mapping[str, Any], ...] = ()
    networks: tuple[Mapping[str, Any], ...] = ()
    search: Mapping[str, Any] | None = None
    confirms: str | None = None
    metrics: tuple[StoredMetric, ...] = FIRST_METRICS
    objective: str = FIRST_METRICS[0].name
    selected_by: str | None = None
    orders: Mapping[str, Sequence[Sequence[str]]] | None = None
    replicate: Mapping[str, Any] | None = None
    further_seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    draw: Mapping[str, Any] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def cell_ids(self) -> frozenset[str]:
        """The ids of the cells."""
        return frozenset(cell["cell_id"] for cell in self.cells)

    @property
    def planned(self) -> int:
        """How many trials the study has when all of them are trained."""
        return len(self.cells) * len(self.seeds) + sum(map(len, self.further_seeds.values()))

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds that any cell has, in ascending order."""
        return tuple(sorted({*self.seeds, *chain(*self.further_seeds.values())}))

    def metric(self, name: str) -> StoredMetric:
        """Return a metric by its name."""
        return next(metric for metric in self.metrics if metric.name == name)

    @property
    def goal(self) -> StoredMetric:
        """The objective."""
        return self.metric(self.objective)

    @property
    def selected_part(self) -> str:
        """The part of the data by which cells are chosen."""
        return self.selected_by or "val"

    @property
    def selection(self) -> str:
        """The column that cells are chosen by."""
        return self.goal.column(self.selected_part)

    @property
    def metric_columns(self) -> list[str]:
        """The columns that the study's metrics may have."""
        return [metric.column(part) for metric in self.metrics for part in PART_IN_WORDS]

    @property
    def ranges(self) -> Mapping[str, Any]:
        """What the search varies, by setting; nothing without a search."""
        return {} if self.search is None else self.search["ranges"]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read study.json's text; raise OtherSchemaError, or ValueError with the problem in one line."""
        try:
            content = json.loads(text)
            _check(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        values: dict[str, Any] = {"others": {}}
        for key, value in content.items():
            if key in OPTIONAL and not value:
                continue
            if key in REQUIRED or key in OPTIONAL:
                values[key] = tuple(value) if isinstance(value, list) else value
            elif key != "schema":
                values["others"][key] = value
        if values.get("metrics"):
            known = [field.name for field in fields(StoredMetric)]
            values["metrics"] = tuple(StoredMetric(*map(metric.get, known)) for metric in values["metrics"])
            values.setdefault("objective", values["metrics"][0].name)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain JSON values that study.json has."""
        found: dict[str, Any] = {"schema": SCHEMA_VERSION}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "others":
                found |= value
            elif item.name == "metrics":
                found["metrics"] = [asdict(metric) for metric in value]
            elif value is not None:
                found[item.name] = list(value) if isinstance(value, tuple) else value
        return found


def _check(content: Any) -> None:
    """Raise ValueError if the content of study.json is not that of a study."""
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, not a {type(content).__name__}")
    if content.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise OtherSchemaError(f"schema {content['schema']!r}, expected {SCHEMA_VERSION}")
    if missing := sorted(REQUIRED.keys() - content.keys()):
        raise ValueError(f"{', '.join(missing)} missing")
    for key, kind in (REQUIRED | OPTIONAL).items():
        value = content.get(key)
        if not isinstance(value, kind) and (value is not None or key in REQUIRED):
            raise ValueError(f"{key} is {value!r}, expected a {kind.__name__}")
    if (replicate := content.get("replicate")) is not None and replicate.keys() != {"looks", "margin", "alpha"}:
        raise ValueError(f"replicate is {replicate!r}, expected its looks, margin, alpha")
    for key, needed in ITEMS.items():
        for item in content.get(key) or ():
            _check_item(key.removesuffix("s"), item, needed)
    if (search := content.get("search")) is not None:
        _check_item("search", search, {"ranges": dict})
    for seed in content["seeds"]:
        if type(seed) is not int or not 0 <= seed < MOST:
            raise ValueError(f"a seed is {seed!r}, expected a whole number from 0 to {MOST:,}")
    metrics = content.get("metrics") or list(map(asdict, FIRST_METRICS))
    if (objective := content.get("objective") or metrics[0]["name"]) not in {metric["name"] for metric in metrics}:
        raise ValueError(f"objective is {objective!r}, expected one of its metrics")
    for name, role in content["roles"].items():
        values = [cell[name] for cell in content["cells"] if name in cell]
        # Models of other settings may lack a factor.
        if content["cells"] and not values:
            raise ValueError(f"no cell has the factor {name}")
        if not isinstance(role, str) or any(isinstance(value, dict) for value in values):
            raise ValueError(f"the factor {name} has a dict as a value or no word as its role")


def _check_item(what: str, item: Any, needed: Mapping[str, Any]) -> None:
    if not isinstance(item, dict):
        raise ValueError(f"a {what} is {item!r}, expected a dict")
    for name, kinds in needed.items():
        value = item.get(name)
        if not isinstance(value, kinds) or value != value or value in (math.inf, -math.inf):
            raise ValueError(f"the {name} of a {what} is {value!r}, expected {NAMES_OF_KINDS[kinds]}")
