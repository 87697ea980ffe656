"""Folders in any storage that pyarrow.fs can reach: a directory, NFS, S3, GCS. Files are read whole."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow.fs as pafs

from study.errors import StudyError
from study.words import flaw_of

# Between two tries; each wait is twice as long as the one before.
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
LASTING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)  # waiting does not help

T = TypeVar("T")


class StoreError(StudyError):
    """A storage that cannot be used as asked: the message has its name, the reason and the fix."""


class ForbiddenError(StoreError):
    """A file that this user may not read."""


class Folder:
    """A folder of a storage: a path or a URI such as ``s3://bucket/studies``. Names are relative to it.

    What fails is tried again for ``patience_s`` seconds. Then every method raises StoreError.
    """

    def __init__(self, storage: str, name: str, patience_s: float = 0.0) -> None:
        self.storage = storage
        self.name = name
        self.patience_s = patience_s
        self.filesystem, root = filesystem_of(storage)
        self.path = f"{root}/{name}"

    def make(self, folder: str = "") -> None:
        """Make this folder, or one in it, if it is missing."""
        path = f"{self.path}/{folder}".rstrip("/")
        self._try("write to", lambda: self.filesystem.create_dir(path, recursive=True))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder of this one, in order; none if it is missing."""
        selector = pafs.FileSelector(f"{self.path}/{folder}", allow_not_found=True)
        infos = self._try("read", lambda: self.filesystem.get_file_info(selector))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.File)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""

        def read() -> bytes | None:
            try:
                with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        return self._try("read", read)

    def put(self, name: str, content: bytes) -> None:
        """Write a file so that no reader ever sees a part of it."""
        folder, _, base = f"{self.path}/{name}".rpartition("/")
        # A directory shows a file while it is being written, so it gets its name afterwards.
        # An object store shows an object once it is complete.
        renames = isinstance(self.filesystem, pafs.LocalFileSystem)
        first = f"{folder}/.{base}.tmp" if renames else f"{folder}/{base}"

        def put() -> None:
            with self.filesystem.open_output_stream(first) as stream:
                stream.write(content)
            if renames:
                self.filesystem.move(first, f"{folder}/{base}")

        self._try("write to", put)

    def move(self, name: str, other: str) -> None:
        """Rename a file, if it is there."""
        self._change(name, lambda path: self.filesystem.move(path, f"{self.path}/{other}"))

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._change(name, self.filesystem.delete_file)

    def delete_folder(self, folder: str) -> None:
        """Remove a folder of this one (with no name: this folder) and all that is in it, if it is there."""
        self._change(folder, self.filesystem.delete_dir)

    def _change(self, name: str, action: Callable[[str], None]) -> None:
        path = f"{self.path}/{name}".rstrip("/")

        def change() -> None:
            # A try that failed may have come through after all, so every try looks first.
            if self.filesystem.get_file_info(path).type != pafs.FileType.NotFound:
                action(path)

        self._try("write to", change)

    def _try(self, what: str, action: Callable[[], T]) -> T:
        deadline = time.monotonic() + self.patience_s
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return action()
            except OSError as error:
                if isinstance(error, LASTING) or time.monotonic() + wait_s > deadline:
                    raise _unusable(what, self.storage, error) from None
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _unusable(what: str, storage: str, error: OSError) -> StoreError:
    kind = ForbiddenError if isinstance(error, PermissionError) else StoreError
    return kind(f"cannot {what} the storage {storage}: {error}; give one that you can use with --storage")


def filesystem_of(storage: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of a path or URI, and the path in it; raise StoreError."""
    scheme, separator, rest = storage.partition("://")
    try:
        if problem := flaw_of(storage):
            raise ValueError(problem)
        if not separator:
            # Without a home directory expanduser raises RuntimeError.
            return pafs.LocalFileSystem(), str(Path(storage).expanduser().absolute())
        if not rest.strip("/"):
            raise ValueError(f"{scheme}:// alone names no bucket or folder")
        filesystem, path = pafs.FileSystem.from_uri(storage)
    except (ValueError, RuntimeError, OSError) as error:
        problem = f"{error}; expected a folder, or a URI such as s3://bucket/dir"
        raise StoreError(f"storage {storage!r}: {problem}") from None
    return filesystem, str(path).rstrip("/")


def folder_names(storage: str, having: str) -> list[str]:
    """Return the names of a storage's folders that have a file named ``having``, in order."""
    filesystem, root = filesystem_of(storage)
    try:
        folders = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        infos = filesystem.get_file_info([f"{folder.path}/{having}" for folder in folders])
    except OSError as error:
        raise _unusable("read", storage, error) from None
    found = zip(folders, infos, strict=True)
    return sorted(folder.base_name for folder, info in found if info.type == pafs.FileType.File)
