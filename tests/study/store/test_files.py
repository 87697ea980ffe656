import subprocess
import sys
import threading
import time

import pytest

from study.store.files import Folder, StoreError, folder_names
from study.store.store import Store
from tests.study.conftest import made_info, record


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")


def test_files_of_a_folder(storage):
    folder = Folder(storage, "own")
    assert (folder.names("trials"), folder.read("trials/a"), folder_names(storage, "x")) == ([], None, [])
    folder.make("trials")
    folder.put("trials/b", b"2")
    folder.put("trials/a", b"1")
    folder.put("trials/a", b"one")
    folder.put("x", b"")
    assert folder.names("trials") == ["a", "b"]
    assert (folder.read("trials/a"), folder.read("trials/b"), folder.read("x")) == (b"one", b"2", b"")
    assert folder_names(storage, having="x") == ["own"]
    folder.make("other")
    folder.move("trials/a", "other/c")
    folder.move("trials/a", "other/d")  # gone already, as when a try had come through after all
    assert (folder.names("trials"), folder.names("other"), folder.read("other/c")) == (["b"], ["c"], b"one")
    folder.delete("trials/b")
    folder.delete("trials/b")
    folder.delete_folder("other")
    folder.delete_folder("other")
    assert (folder.names("trials"), folder.names("other")) == ([], [])


def test_rows_come_back_from_any_storage(storage, make_result):
    store = Store(storage, "made")
    store.write_info(made_info())
    store.write(make_result([record(0, 1, "completed"), record(1, 1, "failed", error="no")]))
    store.write(make_result([record(1, 1, "completed")]))  # supersedes the failed one
    again = Store(storage, "made")
    assert again.repair() == {}
    rows, unreadable = again.read_trials()
    assert ([(row["seed"], row["status"]) for row in rows], unreadable) == ([(0, "completed"), (1, "completed")], {})
    assert again.read_epochs().num_rows == 2
    with again.scratch() as (filesystem, path), filesystem.open_output_stream(f"{path}/checkpoint") as stream:
        stream.write(b"x")
    assert again.folder.read("scratch/checkpoint") is None


def test_listing_goes_on_beyond_a_page_and_asks_for_no_file(s3, s3_server):
    folder = Folder(s3, "own")
    for number in range(2500):  # S3 lists a thousand at a time
        s3_server.backend.put_object("lab", f"{folder.path.removeprefix('lab/')}/trials/{number:04d}", b"")
    before = s3_server.requests
    assert folder.names("trials") == [f"{number:04d}" for number in range(2500)]
    assert s3_server.requests - before <= 4


def test_an_upload_that_was_cut_off_is_no_file(s3):
    script = f"""
import os
from study.storage import Folder
folder = Folder({s3!r}, "own")
stream = folder.filesystem.open_output_stream(folder.path + "/trials/a.parquet")
stream.write(bytes(30 << 20))  # some parts of it are with the server by now
stream.flush()
os._exit(1)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 1
    folder = Folder(s3, "own")
    assert folder.names("trials") == []
    assert folder.read("trials/a.parquet") is None


def test_writers_of_different_cells_do_not_clash(s3, make_result):
    Store(s3, "made").write_info(made_info())

    def write(seed):
        Store(s3, "made").write(make_result([record(seed, 1, "completed")]))

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["seed"] for row in Store(s3, "made").read_trials()[0]) == list(range(8))


@pytest.fixture
def outage(s3_server):
    s3_server.stop()
    yield s3_server
    s3_server.start()


def test_a_storage_that_refuses_for_a_while_is_asked_again(s3, s3_server):
    folder = Folder(s3, "own", patience_s=60)
    s3_server.stop()
    back = threading.Timer(8, s3_server.start)
    back.start()
    folder.put("a", b"1")
    back.join()
    assert folder.read("a") == b"1"


def test_patience_has_a_limit(s3, outage):
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"cannot write to the storage s3://lab/.*--storage"):
        Folder(s3, "own", patience_s=10).put("a", b"1")
    assert 5 < time.monotonic() - began < 60


def test_without_patience_it_is_asked_once(tmp_path, monkeypatch):
    folder, tries = Folder(str(tmp_path), "own"), []

    class Refusing:
        def create_dir(self, path, recursive):
            tries.append(path)
            raise OSError(28, "No space left on device")

    folder.filesystem = Refusing()
    with pytest.raises(StoreError, match="No space left on device"):
        folder.make()
    assert len(tries) == 1
    waits = []
    monkeypatch.setattr("study.store.files.time.sleep", waits.append)
    folder.patience_s = 30
    monkeypatch.setattr("study.store.files.time.monotonic", lambda: sum(waits))
    with pytest.raises(StoreError, match="No space left on device"):
        folder.make()
    assert waits == [0.5, 1, 2, 4, 8, 8]  # a next wait of 8 s would end after more than 30
    assert len(tries) == 1 + 7


def test_what_waiting_cannot_mend_is_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    began = time.monotonic()
    with pytest.raises(StoreError, match="cannot write to the storage"):
        Folder(str(tmp_path / "file"), "own", patience_s=60).make()
    assert time.monotonic() - began < 10


def test_bucket_that_is_not_there(s3_server):
    assert folder_names("s3://nowhere/studies", "study.json") == []
    with pytest.raises(StoreError, match=r"cannot write to the storage s3://nowhere/studies: .*nowhere"):
        Store("s3://nowhere/studies", "own").write_info(made_info())
