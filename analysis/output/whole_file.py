"""A file that a command writes for the user: whole or not at all, and never over another one unasked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.stored import AnalysisError


@contextmanager
def whole_file(out: Path, endings: tuple[str, ...], force: bool) -> Iterator[Path]:
    """Give a path to write to, which becomes ``out`` when all went well and is gone when not.

    Folders are made where missing. Raises AnalysisError for a name with another ending, for a file that is there
    (unless ``force``), and for one that cannot be written.
    """
    if not out.name.endswith(endings):
        raise AnalysisError(f"--out {out}: expected a name that ends in {' or '.join(endings)}")
    if out.exists() and not force:
        raise AnalysisError(f"--out {out}: there is such a file; give another name, or replace it with --force")
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
