"""A file that a command writes: all of it or nothing, and over another one only if forced."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.stored import AnalysisError


@contextmanager
def whole_file(out: Path, endings: tuple[str, ...], force: bool) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``out`` if all goes well, and is removed if not.

    Missing folders are made. Raises AnalysisError if the name has another ending, if the
    file exists (unless ``force``), and if it cannot be written.
    """
    if not out.name.endswith(endings):
        raise AnalysisError(f"--out {out}: expected a name that ends in {' or '.join(endings)}")
    if out.exists() and not force:
        raise AnalysisError(f"--out {out}: the file exists; give another name, or replace it with --force")
    # In the same folder, so that the last step is a rename, which happens as a whole.
    partial = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise AnalysisError(f"--out {out} cannot be written: {error}; give a file that you can write") from None
