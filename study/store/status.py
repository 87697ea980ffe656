"""How a study is getting on, read from its storage alone: from any machine that sees it, without Ray."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.stored import COUNTED, FINISHED, StudyInfo
from study.store.heartbeat import Heartbeat
from study.store.store import Store, study_names
from study.words import format_value


@dataclass(frozen=True)
class Status:
    """A study at a moment: planned trials, trials by status, failures, and its driver's last beat, if one runs it.

    ``failures`` has the settings of a cell and its last error; ``unreadable`` names files. ``beat_age_s`` is the time
    since the last beat by this machine's clock. ``search`` is the search of study.json; while it goes on, only the
    ``cells`` that it has suggested so far are planned.
    """

    study: str
    planned: int
    cells: int
    trials: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]
    unreadable: tuple[str, ...]
    beat: Mapping[str, Any] | None
    beat_age_s: float | None
    search: Mapping[str, Any] | None = None


def read_status(store: Store) -> Status:
    """Read a study's status; raise StoreError where there is no such study."""
    info = store.known_info()
    rows, unreadable = store.read_trials("cell_id", "error", "finished_at")
    beat = Heartbeat.read(store.folder)
    age = None if beat is None else (datetime.now(UTC) - datetime.fromisoformat(beat["beat_at"])).total_seconds()
    return Status(
        study=store.study,
        planned=info.planned,
        cells=len(info.cells),
        trials=count_by_status(rows),
        failures=_failures(info, rows),
        unreadable=tuple(unreadable),
        beat=beat,
        beat_age_s=age,
        search=info.search,
    )


def _failures(info: StudyInfo, rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return each cell with a failed trial once, with the error of the last."""
    failed = {row["cell_id"]: row["error"] for row in sorted(rows, key=_finished_at) if row["status"] == "failed"}
    return tuple(
        (
            ", ".join(f"{name} {format_value(cell[name])}" for name in info.roles),
            failed[cell["cell_id"]] or "unknown",
        )
        for cell in info.cells
        if cell["cell_id"] in failed
    )


def _finished_at(row: Mapping[str, Any]) -> float:
    return 0.0 if row["finished_at"] is None else float(row["finished_at"].timestamp())


def count_by_status(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count trials by the words of ``COUNTED``."""
    return Counter("finished" if row["status"] in FINISHED else row["status"] for row in rows)


def count_trials(storage: str) -> Iterator[dict[str, Any]]:
    """Yield what is told of each study of a storage."""
    for name in study_names(storage):
        store = Store(storage, name)
        info = store.known_info()
        rows, unreadable = store.read_trials("status")
        status = count_by_status(rows)
        yield {
            "study": name,
            "grid": info.grid,
            "cells": len(info.cells),
            "seeds": len(info.seeds),
            "search": info.search,
            **{how: status[how] for how in COUNTED},
            "missing": info.planned - len(rows),
            "unreadable": unreadable,
        }
