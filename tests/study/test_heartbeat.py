import json
import os
import socket
import subprocess
import sys
import time

import pytest

from study.heartbeat import FILE, Heartbeat
from study.store import Store, StoreError

FAST = {"beat_s": 0.1, "settle_s": 0.05}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path), "abc")


def beat(store, **changes):
    """Write what a driver leaves behind."""
    content = {"id": "other", "host": "elsewhere", "pid": 1, "beats": 3, "beat_at": "then", "started_at": "before"}
    store.create()
    store.put_file(FILE, json.dumps(content | changes).encode())


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_beats_while_it_is_open_and_is_gone_after(store):
    with Heartbeat(store, **FAST) as heartbeat:
        heartbeat.report = lambda: {"cells": 7}
        first = Heartbeat.read(store)
        wait_until(lambda: Heartbeat.read(store)["beats"] > first["beats"] + 1)
        held = Heartbeat.read(store)
        assert (held["host"], held["pid"], held["cells"]) == (socket.gethostname(), os.getpid(), 7)
        heartbeat.check()
    assert Heartbeat.read(store) is None


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_driver_is_refused(store):
    with Heartbeat(store, **FAST) as first:
        message = f"the study abc is being run by process {os.getpid()} on {socket.gethostname()} since .*--name"
        with pytest.raises(StoreError, match=message), Heartbeat(store, **FAST):
            pytest.fail("two drivers hold the study")
        first.check()
        assert Heartbeat.read(store)["id"] == first._id
    with Heartbeat(store, **FAST):
        pass


def test_of_two_that_start_at_once_the_later_goes_on(store):
    first = Heartbeat(store, beat_s=0.1, settle_s=0.3)
    original = store.put_file

    def put_and_be_overtaken(path, content):
        original(path, content)
        store.put_file = original
        beat(store)

    store.put_file = put_and_be_overtaken
    with pytest.raises(StoreError, match="is being run by process 1 on elsewhere"), first:
        pytest.fail("two drivers hold the study")
    assert Heartbeat.read(store)["id"] == "other"


def test_a_driver_that_died_here_is_succeeded_at_once(store):
    beat(store, host=socket.gethostname(), pid=ended_process())
    with Heartbeat(store, beat_s=60, settle_s=0.05):  # it does not wait for a beat
        assert Heartbeat.read(store)["pid"] == os.getpid()


def test_a_silent_driver_elsewhere_is_succeeded(store):
    beat(store)
    with Heartbeat(store, **FAST):
        assert Heartbeat.read(store)["id"] != "other"


def test_a_driver_elsewhere_that_beats_is_not(store):
    class Beating(Store):
        def read_file(self, path):
            content = super().read_file(path)
            beat(self, beats=json.loads(content)["beats"] + 1)
            return content

    beat(store)
    with pytest.raises(StoreError, match="on elsewhere since before"), Heartbeat(Beating(store.storage, "abc"), **FAST):
        pytest.fail("two drivers hold the study")


def test_one_whose_study_was_taken_is_told_and_leaves_it_alone(store):
    with Heartbeat(store, **FAST) as heartbeat:
        beat(store)
        wait_until(lambda: heartbeat._trouble is not None)
        with pytest.raises(StoreError, match="on elsewhere since before"):
            heartbeat.check()
    assert Heartbeat.read(store)["id"] == "other"


def test_beats_that_cannot_be_written_end_the_run_in_the_end(store):
    with Heartbeat(store, **FAST) as heartbeat:
        original = store.put_file

        def refuse(path, content):
            raise StoreError("cannot write to the storage")

        store.put_file = refuse
        wait_until(lambda: heartbeat._trouble is not None)
        with pytest.raises(StoreError, match="cannot write to the storage"):
            heartbeat.check()
        store.put_file = original
    assert Heartbeat.read(store) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"id": 1}', b"\xff"])
def test_what_is_no_beat_holds_nothing(store, content):
    store.create()
    store.put_file(FILE, content)
    assert Heartbeat.read(store) is None
    with Heartbeat(store, **FAST):
        pass
