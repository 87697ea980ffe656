"""The driver's sign of life: driver.json in the study's folder says who runs it and how far the run is.

It keeps a second driver away, and ``study status`` reads it. A driver that was killed
leaves it behind. Clocks may differ, so the next driver looks whether the file still changes.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Self

from study.store.files import Folder, StoreError

DRIVER_JSON = "driver.json"
BEAT_S = 5.0  # between two beats, each of which writes the file
# Of two drivers that start at the same time, neither sees the other. The one whose file is
# there after this time goes on.
SETTLE_S = 0.5
PATIENCE = 3  # a driver counts as dead after so many beats without a change
LATE_S = (PATIENCE + 1) * BEAT_S  # after this time without a beat any other run may have the study
GIVE_UP = 9  # a driver ends its run after so many beats that could not be written

# The types of what a beat has, and of what it has once cells train.
WHO: dict[str, Any] = {**dict.fromkeys(("id", "host", "beat_at", "started_at"), str), "pid": int, "beats": int}
NUMBER = (int, float, type(None))
PROGRESS: dict[str, Any] = {
    **{"ended": dict, "running": list, "cells": (int, type(None))},
    **dict.fromkeys(("trainings_per_min", "time_left_s"), NUMBER),
}
RUNNING: dict[str, Any] = {"label": str, "epoch": int, "max_epochs": int}


class Heartbeat:
    """Holds a study for this driver while it is open as a context manager, and beats in its own thread.

    Entering raises StoreError if another driver holds the study.
    """

    def __init__(self, folder: Folder, beat_s: float = BEAT_S, settle_s: float = SETTLE_S) -> None:
        self._report: Callable[[], Mapping[str, Any]] = dict
        self._folder = folder
        self._beat_s = beat_s
        self._settle_s = settle_s
        self._id = uuid.uuid4().hex
        self._beats = 0
        self._started_at = _now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._trouble: StoreError | None = None

    def __enter__(self) -> Self:
        self.check_free()
        self._folder.make()
        self._beat()
        time.sleep(self._settle_s)
        held = self.read(self._folder)
        if held is not None and held["id"] != self._id:
            raise _held_by(held, self._folder)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        held = self.read(self._folder)
        if held is not None and held["id"] == self._id:
            self._folder.delete(DRIVER_JSON)

    @staticmethod
    def read(folder: Folder) -> dict[str, Any] | None:
        """Return the last beat of the study's driver, or None if there is none."""
        try:
            beat = json.loads(folder.read(DRIVER_JSON) or "null")
            # A file that is incomplete, or of another program, is no sign of life.
            whole = _has(beat, WHO) and 0 < beat["pid"] < 2**31
            times = [datetime.fromisoformat(beat[name]) for name in ("beat_at", "started_at")] if whole else []
        except (ValueError, RecursionError):
            return None
        if not whole or None in [time.tzinfo for time in times]:
            return None
        counts_are_whole = _has(beat, PROGRESS) and _has(beat["ended"], dict.fromkeys(beat["ended"], int))
        if counts_are_whole and all(_has(cell, RUNNING) for cell in beat["running"]):
            return dict(beat)
        # What is not known of the run's progress is left out.
        return {name: beat[name] for name in WHO}

    def report_from(self, source: Callable[[], Mapping[str, Any]]) -> None:
        """Write with each beat from now on what ``source`` returns about the run, as plain JSON values."""
        self._report = source

    def check_free(self) -> None:
        """Raise StoreError if a living driver holds the study; write nothing."""
        held = self.read(self._folder)
        if held is not None and self._alive(held):
            raise _held_by(held, self._folder)

    def check(self) -> None:
        """Raise StoreError if another driver has the study, or GIVE_UP beats could not be written."""
        if self._trouble is not None:
            raise self._trouble

    def _alive(self, held: Mapping[str, Any]) -> bool:
        """Tell whether another driver lives: by its process on this machine, otherwise by its beat."""
        if held["host"] == socket.gethostname() and not _process_lives(held["pid"]):
            return False
        for _ in range(PATIENCE):
            time.sleep(self._beat_s)
            now = self.read(self._folder)
            if now is None:
                return False
            if (now["id"], now["beats"]) != (held["id"], held["beats"]):
                return True
        return False

    def _beat(self) -> None:
        self._beats += 1
        who = {"id": self._id, "host": socket.gethostname(), "pid": os.getpid()}
        when = {"started_at": self._started_at, "beats": self._beats, "beat_at": _now()}
        self._folder.put(DRIVER_JSON, json.dumps({**who, **when, **self._report()}).encode())

    def _beat_on(self) -> None:
        missed = 0
        while not self._stop.wait(self._beat_s):
            try:
                held = self.read(self._folder)
                if held is not None and held["id"] != self._id:
                    self._trouble = _held_by(held, self._folder)
                    return
                self._beat()
                missed = 0
            except StoreError as error:
                # The storage may come back, but a run whose beat nobody sees may be taken over.
                missed += 1
                if missed == GIVE_UP:
                    self._trouble = error
                    return


def _has(value: Any, kinds: Mapping[str, Any]) -> bool:
    """Tell whether a value of JSON is an object with members of these types."""
    return isinstance(value, dict) and all(
        name in value and isinstance(value[name], kind) for name, kind in kinds.items()
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _held_by(held: Mapping[str, Any], folder: Folder) -> StoreError:
    who = f"process {held['pid']} on {held['host']} since {held['started_at']}"
    fix = "wait for it, stop it, or give your run another --name"
    return StoreError(f"the study {folder.name} is being run by {who}; {fix}")


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # then the process belongs to someone else
    return True
