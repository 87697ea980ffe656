"""How far a study is, read from its storage on any machine that sees it, without Ray."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from analysis.stored import COUNTED, FINISHED, StoredMetric, StudyInfo
from study.store.files import Folder, StoreError
from study.store.heartbeat import BEAT_S, LATE_S, Heartbeat
from study.store.rows import Row
from study.store.store import Store, study_names
from study.store.study_json import STUDY_JSON
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
    beat, age_s = _last_beat(store.folder)
    # A run that starts holds its study before it writes study.json.
    info = store.known_info() if beat is None else store.read_info() or StudyInfo(store.study, "", {}, (), (), {}, ())
    rows, unreadable = store.read_trials("cell_id", "error", "finished_at")
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


def _last_beat(folder: Folder) -> tuple[Mapping[str, Any] | None, float | None]:
    """Return the last beat of the study's driver and its age in seconds, if there is one."""
    beat = Heartbeat.read(folder)
    if beat is None:
        return None, None
    age_s = (datetime.now(UTC) - datetime.fromisoformat(beat["beat_at"])).total_seconds()
    if -BEAT_S <= age_s <= LATE_S:
        return beat, age_s
    # It is dead, or its clock is not ours. By any clock, a driver that beats again is alive.
    time.sleep(BEAT_S + 1)
    now = Heartbeat.read(folder)
    if now is None or now["beats"] != beat["beats"] or now["id"] != beat["id"]:
        return now, None if now is None else 0.0
    return beat, max(abs(age_s), LATE_S + 1)


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
        try:
            info = store.read_info()
        except StoreError as error:
            # One study that cannot be read does not hide the others.
            nothing = {"grid": "", "cells": 0, "seeds": 0, "search": None, **count_by_status(()), "missing": 0}
            yield {"study": name, **nothing, "unreadable": {STUDY_JSON: f"is no study's: {error}"}}
            continue
        if info is None:
            continue  # it was removed meanwhile
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
