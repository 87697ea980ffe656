import json
import os
import socket
import subprocess
import sys
import time

import pytest

from study.store.files import Folder, StoreError
from study.store.heartbeat import DRIVER_JSON, Heartbeat

FAST = {"beat_s": 0.1, "settle_s": 0.05}


@pytest.fixture
def folder(tmp_path):
    return Folder(str(tmp_path), "abc")


TIMES = dict.fromkeys(("beat_at", "started_at"), "2026-01-02T03:04:05+00:00")
PROGRESS = {"cells": 7, "ended": {}, "running": [], "trainings_per_min": None, "time_left_s": None}


def beat(folder, **changes):
    """Write what a driver leaves behind."""
    content = {"id": "other", "host": "elsewhere", "pid": 1, "beats": 3, **TIMES}
    folder.make()
    folder.put(DRIVER_JSON, json.dumps(content | changes).encode())


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_beats_while_it_is_open_and_is_gone_after(folder):
    with Heartbeat(folder, **FAST) as heartbeat:
        heartbeat.report_from(lambda: PROGRESS)
        first = Heartbeat.read(folder)
        wait_until(lambda: Heartbeat.read(folder)["beats"] > first["beats"] + 1)
        held = Heartbeat.read(folder)
        assert (held["host"], held["pid"], held["cells"]) == (socket.gethostname(), os.getpid(), 7)
        heartbeat.check()
    assert Heartbeat.read(folder) is None


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_driver_is_refused(folder):
    with Heartbeat(folder, **FAST) as first:
        message = f"the study abc is being run by process {os.getpid()} on {socket.gethostname()} since .*--name"
        with pytest.raises(StoreError, match=message), Heartbeat(folder, **FAST):
            pytest.fail("two drivers hold the study")
        first.check()
        assert Heartbeat.read(folder)["id"] == first._id
    with Heartbeat(folder, **FAST):
        pass


def test_of_two_that_start_at_once_the_later_goes_on(folder):
    first = Heartbeat(folder, beat_s=0.1, settle_s=0.3)
    original = folder.put

    def put_and_be_overtaken(path, content):
        original(path, content)
        folder.put = original
        beat(folder)

    folder.put = put_and_be_overtaken
    with pytest.raises(StoreError, match="is being run by process 1 on elsewhere"), first:
        pytest.fail("two drivers hold the study")
    assert Heartbeat.read(folder)["id"] == "other"


def test_a_driver_that_died_here_is_succeeded_at_once(folder):
    beat(folder, host=socket.gethostname(), pid=ended_process())
    with Heartbeat(folder, beat_s=60, settle_s=0.05):  # it does not wait for a beat
        assert Heartbeat.read(folder)["pid"] == os.getpid()


def test_a_silent_driver_elsewhere_is_succeeded(folder):
    beat(folder)
    with Heartbeat(folder, **FAST):
        assert Heartbeat.read(folder)["id"] != "other"


def test_a_driver_elsewhere_that_beats_is_not(folder):
    class Beating(Folder):
        def read(self, path):
            content = super().read(path)
            beat(self, beats=json.loads(content)["beats"] + 1)
            return content

    beat(folder)
    with (
        pytest.raises(StoreError, match="on elsewhere since 2026-01-02"),
        Heartbeat(Beating(folder.storage, "abc"), **FAST),
    ):
        pytest.fail("two drivers hold the study")


def test_one_whose_study_was_taken_is_told_and_leaves_it_alone(folder):
    with Heartbeat(folder, **FAST) as heartbeat:
        beat(folder)
        wait_until(lambda: heartbeat._trouble is not None)
        with pytest.raises(StoreError, match="on elsewhere since 2026-01-02"):
            heartbeat.check()
    assert Heartbeat.read(folder)["id"] == "other"


def test_beats_that_cannot_be_written_end_the_run_in_the_end(folder):
    with Heartbeat(folder, **FAST) as heartbeat:
        original = folder.put

        def refuse(path, content):
            raise StoreError("cannot write to the storage")

        folder.put = refuse
        wait_until(lambda: heartbeat._trouble is not None)
        with pytest.raises(StoreError, match="cannot write to the storage"):
            heartbeat.check()
        folder.put = original
    assert Heartbeat.read(folder) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"id": 1}', b"\xff"])
def test_what_is_no_beat_holds_nothing(folder, content):
    folder.make()
    folder.put(DRIVER_JSON, content)
    assert Heartbeat.read(folder) is None
    with Heartbeat(folder, **FAST):
        pass


@pytest.mark.parametrize("content", ["null", "[1]", "[" * 100_000, '{"id": 1}', "\0", '{"pid": ' + "9" * 40 + "}"])
def test_a_driver_json_that_is_none_is_no_sign_of_life(folder, content):
    folder.make()
    folder.put(DRIVER_JSON, content.encode())
    assert Heartbeat.read(folder) is None


@pytest.mark.parametrize(
    "changes",
    [{"pid": 10**30}, {"pid": -1}, {"host": None}, {"beat_at": "then"}, {"beat_at": "2026-01-02"}, {"id": []}],
)
def test_a_beat_of_wrong_types_is_no_sign_of_life(folder, changes):
    beat(folder, **changes)
    assert Heartbeat.read(folder) is None


@pytest.mark.parametrize(
    "changes", [{"ended": {"finished": "x"}}, {"running": [3]}, {"cells": "7"}, {"time_left_s": []}]
)
def test_progress_of_wrong_types_is_left_out(folder, changes):
    beat(folder, **PROGRESS)
    assert Heartbeat.read(folder)["cells"] == 7
    beat(folder, **PROGRESS | changes)
    assert "cells" not in Heartbeat.read(folder)
