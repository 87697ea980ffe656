"""``study archive``, ``restore`` and ``remove``: a study as one file, and the end of a study."""

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from analysis.output.whole_file import whole_file
from study.store.files import StoreError
from study.store.store import Store

FOLDERS = ("trials", "epochs", "damaged")
MEMBER = re.compile(rf"(?:\./)?([^/]+)/(study\.json|(?:{'|'.join(FOLDERS)})/[^/.][^/]*)")
CHUNK = 1 << 20  # bytes
WRITTEN_AT = 315_532_800  # 1980: the same study gives the same bytes, and no tar finds the time implausible


def write_archive(store: Store, out: Path, force: bool = False) -> tuple[int, str]:
    """Write the files of a study, whole and checked or not at all; return their number and the archive's SHA-256.

    The same study gives the same bytes. Raises StoreError where what is read back is not what was written, and
    AnalysisError as ``whole_file`` does.
    """
    written = {}
    with whole_file(out, (".tar.gz", ".tgz"), force) as path:
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=WRITTEN_AT) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for name, content in _files(store):
                member = tarfile.TarInfo(f"{store.study}/{name}")
                member.size, member.mtime, member.mode = len(content), WRITTEN_AT, 0o644
                tar.addfile(member, io.BytesIO(content))
                written[name] = hashlib.sha256(content).hexdigest()
        if written != {name: hashlib.sha256(content).hexdigest() for _, name, content in _members(path)}:
            raise StoreError(f"{out} is not what was written when it is read back; nothing is kept of it, try again")
        with path.open("rb") as whole:
            sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    return len(written), sha256


def _files(store: Store) -> Iterator[tuple[str, bytes]]:
    """Give the name and content of each file of a study."""
    names = [f"{folder}/{name}" for folder in FOLDERS for name in store.folder.names(folder) if name[0] != "."]
    for name in ["study.json", *names]:
        content = store.folder.read(name)
        if content is None:
            raise StoreError(f"{name} of {store.study} was removed while the study was read; try again")
        yield name, content


def _members(file: Path) -> Iterator[tuple[str, str, bytes]]:
    """Give study, name and content of each file in an archive; raise StoreError for what is no study's archive."""
    try:
        with gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
            for member in tar:
                found = MEMBER.fullmatch(member.name)
                if found and member.isfile() and (stream := tar.extractfile(member)):
                    yield found[1], found[2], stream.read()
                elif not member.isdir():
                    raise StoreError(
                        f"{file} holds {member.name}: expected the files of one study; nothing is restored"
                    )
            while packed.read(CHUNK):  # to the end, where gzip checks the length and the sum of all of it
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StoreError(f"{file} cannot be read: {error}; expected what `study archive` writes") from None


def restore_study(file: Path, storage: str) -> Store:
    """Put an archived study into a storage and return its store.

    Raises StoreError for a bad archive, and where there is such a study.
    """
    names = {(study, name) for study, name, _ in _members(file)}  # all of it is read before anything is written
    studies = {study for study, _ in names}
    if len(studies) != 1 or not {name for _, name in names} >= {"study.json"}:
        raise StoreError(f"{file} holds no study.json of one study; expected what `study archive` writes")
    store = Store(storage, studies.pop())
    if store.folder.read("study.json") is not None:
        raise StoreError(f"there is a study {store.study} in {storage}; remove it, or give another --storage")
    for folder in sorted({name.partition("/")[0] for _, name in names if "/" in name}):
        store.folder.make(folder)
    info = b""
    for _, name, content in _members(file):
        if name == "study.json":  # the last: without it there is no such study, and restoring can be repeated
            info = content
        else:
            store.folder.put(name, content)
    store.folder.put("study.json", info)
    return store
