"""Archives of made studies, restored and damaged, and the removal of a study."""

import gzip
import hashlib
import io
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from study.cli.keep import describe_rows
from study.store.archive import write_archive
from study.store.files import StoreError
from study.store.heartbeat import Heartbeat
from tests.study.store.test_merge import CELLS, files, new_store, put

STUDY = str(Path(sys.executable).with_name("study"))


def lab(storage="studies"):
    """Four trials: two finished, one pruned, one failed; an epoch takes half a second."""
    store = new_store(storage, "lab")
    put(store, CELLS[0], (0, 1))
    put(store, CELLS[1], (0,), "pruned")
    put(store, CELLS[2], (0,), "failed")
    return store


def relative(folder):
    return {str(path.relative_to(folder)): content for path, content in files(folder).items()}


def test_an_archive_restores_the_same_bytes_by_restore_and_by_tar(study, tmp_path):
    store = lab()
    store.folder.make("damaged")
    store.folder.put("damaged/trials-x.parquet", b"set aside")
    kept = relative("studies/lab")
    store.folder.make("scratch/tune")
    store.folder.put("scratch/tune/checkpoint", b"of a run that was killed")

    code, out, errors = study("archive", "lab", "--out", "kept/lab.tar.gz")
    assert (code, errors) == (0, "")
    assert "lab: 4 trials (1 failed, 2 finished, 1 pruned), 0.00 hours of training" in out
    assert f"{hashlib.sha256(Path('kept/lab.tar.gz').read_bytes()).hexdigest()}  kept/lab.tar.gz\n" in out
    assert sorted(path.name for path in Path("kept").iterdir()) == ["lab.tar.gz"]

    code, out, _ = study("restore", "kept/lab.tar.gz", "--storage", "elsewhere")
    assert (code, "Restored lab in elsewhere: 4 trials" in out) == (0, True)
    assert relative("elsewhere/lab") == kept
    subprocess.run(["tar", "xzf", "../kept/lab.tar.gz"], cwd=Path("elsewhere").absolute(), check=True)
    assert relative("elsewhere/lab") == kept
    subprocess.run(["tar", "czf", "own.tar.gz", "-C", "elsewhere", "./lab"], check=True)
    assert study("restore", "own.tar.gz", "--storage", "third")[0] == 0
    assert relative("third/lab") == kept

    code, _, errors = study("restore", "kept/lab.tar.gz")
    assert (code, "there is a study lab in studies; remove it" in errors) == (2, True)


def test_the_same_study_gives_the_same_archive(study):
    store = lab()
    first = write_archive(store, Path("a.tar.gz"))
    assert first == write_archive(store, Path("b.tar.gz"))
    assert first[0] == 1 + 2 * 3


def test_an_archive_that_reads_back_otherwise_is_not_kept(study, monkeypatch):
    """A disk that loses the last bytes: the end of the file is cut off before it is read back."""
    store, opened = lab(), gzip.open

    def cut(name):
        os.truncate(name, name.stat().st_size - 1)
        return opened(name)

    monkeypatch.setattr(gzip, "open", cut)
    with pytest.raises(StoreError, match="cannot be read"):
        write_archive(store, Path("lab.tar.gz"))
    assert [path.name for path in Path().iterdir()] == ["studies"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["archive", "unknown", "--out", "x.tar.gz"], "no study unknown in studies"),
        (["archive", "lab", "--out", "x.zip"], "--out x.zip: expected a name that ends in .tar.gz"),
        (["archive", "lab", "--out", "there.tar.gz"], "--out there.tar.gz: the file exists"),
        (["archive", "lab", "--out", "there.tar.gz/x.tar.gz"], "--out there.tar.gz/x.tar.gz cannot be written"),
        (["restore", "missing.tar.gz"], "missing.tar.gz cannot be read"),
        (["restore", "there.tar.gz"], "there.tar.gz cannot be read"),
        (["remove", "unknown", "--yes"], "no study unknown in studies"),
    ],
)
def test_bad_input_is_one_line(study, arguments, message):
    lab()
    Path("there.tar.gz").write_bytes(b"mine")
    before = files(".")
    code, _, errors = study(*arguments)
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors
    assert files(".") == before


def tar_of(*names):
    with tarfile.open("made.tar.gz", "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"{}"))


@pytest.mark.parametrize(
    "names",
    [
        ["lab/study.json", "../evil"],
        ["lab/study.json", "lab/trials/../../evil"],
        ["lab/study.json", "lab/trials/.."],
        ["../study.json"],
        ["lab/study.json", "other/study.json"],
        ["lab/trials/x.parquet"],
        ["study.json"],
    ],
)
def test_what_is_no_archive_of_a_study_writes_nothing(study, tmp_path, names):
    tar_of(*names)
    code, _, errors = study("restore", "made.tar.gz", "--storage", "deep/studies")
    assert (code, errors.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.rglob("*")] == ["made.tar.gz"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-6] + bytes([data[-6] ^ 1]) + data[-5:], lambda data: b""]
)
def test_a_damaged_archive_writes_nothing(study, damage):
    archive = Path("lab.tar.gz")
    write_archive(lab(), archive)
    archive.write_bytes(damage(archive.read_bytes()))
    code, _, errors = study("restore", "lab.tar.gz", "--storage", "elsewhere")
    assert (code, errors.count("\n"), Path("elsewhere").exists()) == (2, 1, False)


def test_removal_needs_a_yes(study, monkeypatch):
    lab()
    new_store("studies", "other")
    before = files("studies")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, out, errors = study("remove", "lab")
    assert (code, errors.count("\n"), "give --yes" in errors) == (2, 1, True)
    assert "lab in studies: 4 trials (1 failed, 2 finished, 1 pruned)" in out
    assert files("studies") == before
    code, out, _ = study("remove", "lab", "--yes")
    assert (code, "Removed lab." in out) == (0, True)
    assert [path.name for path in Path("studies").iterdir()] == ["other"]


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
def test_a_person_is_asked(study, answer, code):
    lab()
    driver, terminal = pty.openpty()
    command = [STUDY, "remove", "lab"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asked:
        os.write(driver, f"{answer}\n".encode())
        out = asked.communicate(timeout=60)[0]
    os.close(driver)
    os.close(terminal)
    assert (asked.returncode, "Remove all of it for good?" in out) == (code, True)
    assert Path("studies/lab").exists() == bool(code)


@pytest.mark.parametrize("command", [["remove", "lab", "--yes"], ["archive", "lab", "--out", "lab.tar.gz"]])
def test_a_study_that_is_running_is_left_alone(study, command):
    store = lab()
    before = files(".")
    with Heartbeat(store.folder, beat_s=0.1, settle_s=0.05):
        code, _, errors = study(*command)
    assert (code, "the study lab is being run by process" in errors) == (2, True)
    assert files(".") == before


def test_in_an_object_store(study, s3):
    store = lab(s3)
    assert study("archive", "lab", "--storage", s3, "--out", "lab.tar.gz")[0] == 0
    assert study("remove", "lab", "--storage", s3, "--yes")[0] == 0
    assert study("list", "--storage", s3)[1].startswith("No study in")
    assert store.read_trials() == ([], {})
    assert study("restore", "lab.tar.gz", "--storage", s3)[0] == 0
    assert describe_rows(store).startswith("4 trials (1 failed, 2 finished, 1 pruned)")


def test_an_archive_larger_than_any_study_is_refused_before_it_is_read(study, tmp_path, monkeypatch):
    lab()
    monkeypatch.setattr("study.store.archive.LARGEST_FILE", 1000)
    with tarfile.open("made.tar.gz", "w:gz") as tar:
        for name, size in {"lab/study.json": 2, "lab/trials/x": 1001}.items():
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(b" " * size))
    long_name = tarfile.TarInfo("lab/trials/" + "x" * 5000)
    with tarfile.open("long.tar.gz", "w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(long_name)
    for name in ("made.tar.gz", "long.tar.gz"):
        code, _, errors = study("restore", name, "--storage", "elsewhere")
        assert (code, errors.count("\n"), "larger than any study" in errors) == (2, 1, True)
    assert not Path("elsewhere").exists()
