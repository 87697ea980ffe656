"""Reading grid files: a shipped grid by its name, or any file by its path."""

from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from study.grid import MOST_BYTES
from study.grid.grid import Grid, GridError
from study.grid.shipped import grid_names
from study.grid.yaml_text import UnreadableError, YamlFile
from study.words import suggest


def load_grid(name: str) -> Grid:
    """Read a shipped grid by name, or any grid file by its path; raise GridError."""
    path, file = open_grid(name)
    try:
        return Grid.model_validate(file.content)
    except ValidationError as error:
        line, message = file.problem(error)
        raise GridError(f"{path}:{line}: {message}") from None


def open_grid(name: str) -> tuple[str, YamlFile]:
    """Return the path and the unchecked content, which has keys, of a shipped grid or a grid file; raise GridError."""
    path, text = read_grid(name)
    try:
        file = YamlFile(text)
    except UnreadableError as error:
        where = path if error.line is None else f"{path}:{error.line}"
        raise GridError(f"{where}: {error}") from None
    if not isinstance(file.content, dict):
        given = type(file.content).__name__
        raise GridError(f"{path}:1: expected keys such as name and factors, not {given}")
    return path, file


def read_grid(name: str) -> tuple[str, str]:
    """Return the path and the text of a shipped grid or of a grid file; raise GridError."""
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        return _read_shipped(name)
    if not path.is_file():
        there = sorted(map(str, path.parent.glob("*.y*ml"))) if path.parent.is_dir() else []
        fix = suggest(name, there) if there else "give the path of a YAML file"
        raise GridError(f"no grid file {name}: no such file; {fix}")
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise GridError(f"grid file {name} has {size:,} bytes; expected at most {MOST_BYTES:,}")
        return name, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GridError(f"grid file {name} cannot be read: {error}; expected YAML in UTF-8") from None


def _read_shipped(name: str) -> tuple[str, str]:
    known = grid_names()
    if name not in known:
        # Whoever leaves out the ending of a file in this folder means that file.
        here = sorted(file.name for file in Path().glob("*.y*ml"))
        hint = suggest(name, [*known, "the path of a .yaml file"], here)
        raise GridError(f"unknown grid {name!r}: {hint}")
    shipped = resources.files("study.grid.shipped") / f"{name}.yaml"
    return str(shipped), shipped.read_text(encoding="utf-8")
