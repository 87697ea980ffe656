"""How far a study is, read from its storage on any machine that sees it, without Ray."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from analysis.stored import COUNTED, FINISHED, StoredMetric, StudyInfo
from study.store.heartbeat import Heartbeat
from study.store.rows import Row
from study.store.store import Store, study_names
from study.words import describe_settings

if TYPE_CHECKING:  # scipy takes a second to import
    from analysis.statistics.standings import Standing


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment.

    ``trials`` counts trials by the words of ``COUNTED``, of ``planned`` trials in ``cells`` cells.
    ``failures`` has the settings of each cell with a failed trial, and its last error.
    ``unreadable`` says what is wrong with files. ``beat`` is the last beat of its driver, None if no run is in
    progress, and ``beat_age_s`` the time since then by this machine's clock. ``objective`` is the
    metric whose mean the beat has. ``search`` is the search of study.json; while it goes on, only
    the cells suggested so far are planned. ``contrasts`` say where each stands, if they are decided by looks.
    """

    study: str
    planned: int
    cells: int
    trials: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]
    unreadable: Mapping[str, str]
    beat: Mapping[str, Any] | None
    beat_age_s: float | None
    objective: StoredMetric
    search: Mapping[str, Any] | None = None
    contrasts: tuple[str, ...] = ()


def read_status(store: Store) -> StudyStatus:
    """Read a study's status; raise StoreError if there is no such study."""
    info = store.known_info()
    rows, unreadable = store.read_trials("cell_id", "error", "finished_at")
    beat = Heartbeat.read(store.folder)
    age_s = None
    if beat is not None:
        age_s = (datetime.now(UTC) - datetime.fromisoformat(beat["beat_at"])).total_seconds()
    return StudyStatus(
        study=store.study,
        planned=info.planned,
        cells=len(info.cells),
        trials=count_by_status(rows),
        failures=tuple(_failures(info, rows)),
        unreadable=unreadable,
        beat=beat,
        beat_age_s=age_s,
        objective=info.goal,
        search=info.search,
        contrasts=describe_standings(store, info.goal) if info.replicate else (),
    )


def standings_in(store: Store) -> "list[Standing]":
    """Return where the contrasts of a study stand; none before a trial has finished."""
    from analysis.load import companion
    from analysis.statistics.standings import standings

    data = companion(store.storage, store.study)
    return [] if data is None else standings(data)


def describe_standings(store: Store, goal: StoredMetric) -> tuple[str, ...]:
    """Say in one line for each contrast where it stands."""
    from analysis.statistics.standings import describe_standing

    return tuple(describe_standing(standing, goal) for standing in standings_in(store))


def _failures(info: StudyInfo, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield each cell with a failed trial once, with the error of its last one."""
    errors = {}
    for row in sorted(rows, key=lambda row: (row["finished_at"] is not None, row["finished_at"])):
        if row["status"] == "failed":
            errors[row["cell_id"]] = row["error"]  # the last one stays
    # In the order of study.json, as other tables of cells.
    for cell in info.cells:
        if cell["cell_id"] in errors:
            label = describe_settings({name: cell[name] for name in info.roles})
            yield label, errors[cell["cell_id"]] or "unknown"


def count_by_status(rows: Iterable[Row]) -> dict[str, int]:
    """Count trials by the words of ``COUNTED``: all of them, in this order."""
    counts = dict.fromkeys(COUNTED, 0)
    for row in rows:
        counts["finished" if row["status"] in FINISHED else row["status"]] += 1
    return counts


def count_trials(storage: str) -> Iterator[dict[str, Any]]:
    """Yield how many cells, seeds and trials each study has; ``unreadable`` says what is wrong with files."""
    for name in study_names(storage):
        store = Store(storage, name)
        info = store.known_info()
        rows, unreadable = store.read_trials("status")
        yield {
            "study": name,
            "grid": info.grid,
            "cells": len(info.cells),
            "seeds": len(info.seeds),
            "search": info.search,
            **count_by_status(rows),
            "missing": info.planned - len(rows),
            "unreadable": unreadable,
        }
