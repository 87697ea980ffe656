"""What ``study`` writes and ``analysis`` reads: schema version, statuses, ranks, and the content of study.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

SCHEMA_VERSION = 1
FINISHED = ("completed", "converged")
# Where a trial has rows in several parts, the one with the lowest rank counts.
RANK = {"completed": 0, "converged": 0, "pruned": 1, "failed": 2}
# What a trial's row says of when and where it was trained; two trainings with the same bits differ in nothing else.
CIRCUMSTANCES = {"study", "device", "error", "train_time_s", "started_at", "finished_at"}
CONFIRMATION = "-confirm"  # ends the name of a confirmation
KINDS = {"grid": str, "roles": dict, "cells": list, "seeds": list, "protocol": dict, "runs": list}


class AnalysisError(Exception):
    """A study that cannot be analysed as asked: one line with what is wrong, what was expected, and the fix."""


class OtherSchemaError(ValueError):
    """The study.json of another version of this program; ``found`` is its schema."""

    def __init__(self, found: object) -> None:
        super().__init__(f"schema {found!r}, expected {SCHEMA_VERSION}")
        self.found = found


@dataclass(frozen=True)
class StudyInfo:
    """The content of study.json: what a study is about, and where its results come from.

    A cell is its settings and its ``cell_id``. ``protocol`` has the settings that are the same for all cells.
    ``search`` is None without a search; ``confirms`` names the study whose chosen cells were trained again here.
    Keys that this version does not know are kept in ``others``.
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
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def planned(self) -> int:
        """How many trials the study has when all of them are trained."""
        return len(self.cells) * len(self.seeds)

    @property
    def ranges(self) -> Mapping[str, Any]:
        """What the search varies, by setting; nothing without a search."""
        return {} if self.search is None else self.search["ranges"]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read the text of study.json; raise OtherSchemaError, or ValueError that says what is wrong with it."""
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, not a {type(content).__name__}")
        if content.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise OtherSchemaError(content["schema"])
        names = {item.name for item in fields(cls)} - {"others"}
        known = {name: value for name, value in content.items() if name in names}
        if missing := sorted({"study", *KINDS} - known.keys()):
            raise ValueError(f"{', '.join(missing)} missing")
        for key, kind in KINDS.items():
            if not isinstance(known[key], kind):
                raise ValueError(f"{key} is {known[key]!r}, expected a {kind.__name__}")
        for cell in known["cells"]:
            if missing := [name for name in ("cell_id", "model", *known["roles"]) if name not in cell]:
                raise ValueError(f"a cell has no {missing[0]}")
        others = {key: value for key, value in content.items() if key not in names and key != "schema"}
        values: dict[str, Any] = {}
        for key, value in known.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        return cls(**values, others=others)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values, as study.json has it."""
        found: dict[str, Any] = {"schema": SCHEMA_VERSION}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "others":
                found |= value
            elif value is not None:
                found[item.name] = list(value) if isinstance(value, tuple) else value
        return found
