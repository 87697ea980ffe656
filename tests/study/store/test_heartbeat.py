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


def beat(folder, **changes):
    """Write what a driver leaves behind."""
    content = {"id": "other", "host": "elsewhere", "pid": 1, "beats": 3, "beat_at": "then", "started_at": "before"}
    folder.make()
    folder.put(DRIVER_JSON, json.dumps(content | changes).encode())


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_beats_while_it_is_open_and_is_gone_after(folder):
    with Heartbeat(folder, **FAST) as heartbeat:
        heartbeat.report_from(lambda: {"cells": 7})
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
        pytest.raises(StoreError, match="on elsewhere since before"),
        Heartbeat(Beating(folder.storage, "abc"), **FAST),
    ):
        pytest.fail("two drivers hold the study")


def test_one_whose_study_was_taken_is_told_and_leaves_it_alone(folder):
    with Heartbeat(folder, **FAST) as heartbeat:
        beat(folder)
        wait_until(lambda: heartbeat._trouble is not None)
        with pytest.raises(StoreError, match="on elsewhere since before"):
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
