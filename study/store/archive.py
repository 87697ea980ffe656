"""A study as one file, and back: what ``study archive`` writes and ``study restore`` reads."""

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from analysis.output.whole_file import whole_file
from study.store.files import StoreError
from study.store.heartbeat import Heartbeat
from study.store.store import Store
from study.store.study_json import STUDY_JSON, parse_study_json

FOLDERS = ("trials", "epochs", "damaged")
MEMBER = re.compile(rf"(?:\./)?([^/]+)/(study\.json|(?:{'|'.join(FOLDERS)})/[^/.][^/]*)")
CHUNK = 1 << 20  # bytes
# No study comes near these; an archive from someone else may try to fill the memory or the disk.
MOST_FILES = 250_000
LARGEST_FILE = 1 << 26  # bytes
MOST_BYTES = 1 << 34
# 1980, in seconds since 1970. A fixed time makes the same study give the same bytes, and no
# tar finds this one implausible.
WRITTEN_AT = 315_532_800


def write_archive(store: Store, out: Path, force: bool = False) -> tuple[int, str]:
    """Write the files of a study into a .tar.gz, complete and checked, or leave no file.

    Return how many files it has, and its SHA-256 (hex). The same study gives the same bytes.
    Raises StoreError if it reads back different, and AnalysisError as ``whole_file``.
    """
    with whole_file(out, (".tar.gz", ".tgz"), force) as path:
        written = _write_members(store, path)
        read_back = {name: _sha256(content) for _, name, content in _members(path)}
        if read_back != written:
            raise StoreError(f"{out} reads back different from what was written: not kept, try again")
        with path.open("rb") as whole:
            sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    return len(written), sha256


def _write_members(store: Store, path: Path) -> dict[str, str]:
    """Write the files of a study; return their SHA-256 by name."""
    written = {}
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=WRITTEN_AT) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, content in _files(store):
            member = tarfile.TarInfo(f"{store.study}/{name}")
            member.size = len(content)
            member.mtime = WRITTEN_AT
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
            written[name] = _sha256(content)
    return written


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files(store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file of a study."""
    files = [f"{folder}/{name}" for folder in FOLDERS for name in store.folder.names(folder) if name[0] != "."]
    for name in (STUDY_JSON, *files):
        content = store.folder.read(name)
        if content is None:
            raise StoreError(f"{name} of {store.study} was removed while the study was read; try again")
        yield name, content


def _members(file: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield study, name and content of each file in an archive; raise StoreError for any other file."""
    left = MOST_BYTES
    try:
        with (
            gzip.open(file) as packed,
            tarfile.open(fileobj=cast("IO[bytes]", _Bounded(file, packed)), mode="r:") as tar,
        ):
            for number, member in enumerate(tar):
                left -= member.size
                if number >= MOST_FILES or member.size > LARGEST_FILE or left < 0:
                    raise _too_large(file)
                found = MEMBER.fullmatch(member.name)
                if found and member.isfile() and (stream := tar.extractfile(member)):
                    yield found[1], found[2], stream.read()
                elif not member.isdir():
                    expected = "expected the files of one study; nothing is restored"
                    raise StoreError(f"{file} contains {member.name}: {expected}")
            # tarfile stops before the file's end, where gzip checks its length and checksum.
            while packed.read(CHUNK):
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StoreError(f"{file} cannot be read: {error}; expected what `study archive` writes") from None


def _too_large(file: Path) -> StoreError:
    limits = f"{MOST_FILES:,} files, of {LARGEST_FILE >> 20} MiB each and {MOST_BYTES >> 30} GiB together"
    return StoreError(f"{file} is larger than any study: expected at most {limits}; nothing is restored")


class _Bounded:
    """An open file that gives no more at once than a file of an archive may have: headers too have a size."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Return the next bytes; raise StoreError."""
        if size > LARGEST_FILE + tarfile.BLOCKSIZE:
            raise _too_large(self._path)
        content: bytes = self._file.read(size)
        return content


def restore_study(file: Path, storage: str) -> Store:
    """Put an archived study into a storage; raise StoreError for a bad archive or a name that is taken."""
    # The whole archive is read, and so checked, before anything is written.
    studies = set()
    names = set()
    info = b""
    for study, name, content in _members(file):
        studies.add(study)
        names.add(name)
        info = content if name == STUDY_JSON else info
    if len(studies) != 1 or STUDY_JSON not in names:
        raise StoreError(f"{file} holds no study.json of one study; expected what `study archive` writes")
    store = Store(storage, studies.pop())
    parse_study_json(info, f"{STUDY_JSON} in {file}")
    if store.folder.read(STUDY_JSON) is not None:
        raise StoreError(f"there is a study {store.study} in {storage}; remove it, or give another --storage")
    for folder in FOLDERS:
        if any(name.startswith(f"{folder}/") for name in names):
            store.folder.make(folder)
    # study.json comes last: without it there is no such study, and restoring can be repeated.
    for _, name, content in _members(file):
        if name != STUDY_JSON:
            store.folder.put(name, content)
    store.folder.put(STUDY_JSON, info)
    return store


def remove_study(store: Store) -> None:
    """Delete a study with all that it has; raise StoreError if it is running."""
    with Heartbeat(store.folder):
        for folder in (*FOLDERS, "scratch"):
            store.folder.delete_folder(folder)
        store.folder.delete(STUDY_JSON)  # the last: as long as it is there, the removal can be repeated
    store.folder.delete_folder("")
