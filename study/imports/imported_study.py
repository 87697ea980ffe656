"""What a study of trainings that were made elsewhere is about: its factors' roles, contrasts and cells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, create_model

from analysis.stored import StudyInfo
from study.grid.grid import Grid, GridError
from study.grid.load import open_grid
from study.grid.yaml_text import YamlFile
from study.imports.imported_rows import store_trainings
from study.imports.runs_table import RunsTable, Trainings, read_trainings
from study.plan.jobs import study_info
from study.store.files import StoreError
from study.store.merge import Merged, joined_info
from study.store.store import locate
from study.words import suggest
from trainables.config import ImportedSettings

KEYS = ("name", "description", "factors", "contrasts", "objective", "draw")  # the rest is in the table


def import_table(
    asked: RunsTable, into: str, storage: str, contrasts: Sequence[str] = (), grid: str | Path | None = None
) -> tuple[Trainings, Merged]:
    """Put the trainings of a table into a study, which may be new; return them, and what was done.

    ``contrasts`` are written NAME: FACTOR=VALUE, ... minus FACTOR=VALUE, ...; ``grid`` is a file with the
    roles of factors, and contrasts. Without one the roles are those that the study has, or scientific.
    Raises TableError, GridError or StoreError; then nothing has changed.
    """
    trainings = read_trainings(asked)
    target = locate(into, storage)
    earlier = target.read_info()
    checked = _grid(trainings, contrasts, grid, earlier)
    cells = checked.cells()
    info = study_info(target.study, checked, cells, trainings.seeds, None)
    selected_by = None if info.goal.column("val") in trainings.figures else "test"
    run = {"started_at": datetime.now(UTC).isoformat(timespec="seconds"), "imported_from": trainings.file}
    info = replace(info, runs=(run,), selected_by=selected_by)
    if earlier is not None:
        # The merge that follows checks this too, but does not know the table's name.
        joined_info(target.study, [(into, earlier), (trainings.file, info)])
    return trainings, store_trainings(info, cells, trainings, into, storage)


def _grid(trainings: Trainings, contrasts: Sequence[str], grid: str | Path | None, earlier: StudyInfo | None) -> Grid:
    """Return the grid of a table, checked as the grid of a run."""
    kinds = dict(trainings.kinds)
    roles = dict.fromkeys(kinds, "scientific")
    if earlier is not None:
        _check_joinable(trainings, kinds, earlier)
        roles |= earlier.roles
    if grid is not None:
        path, file = open_grid(str(grid))
        content = _without_values(file.content)
    else:
        content = {"name": "imported", "description": "" if earlier is None else earlier.description}
        content["factors"] = {name: {"role": role} for name, role in roles.items()}
    written = [_contrast(text, kinds) for text in contrasts]
    content["contrasts"] = [*(content.get("contrasts") or ()), *written]
    content["cells"] = [factors for factors, _ in trainings.cells()]

    fields: dict[str, Any] = {name: (kind, ...) for name, kind in kinds.items()}
    settings = create_model("Imported", __base__=ImportedSettings, **fields)
    settings.metrics = trainings.metrics
    try:
        return Grid.model_validate(content, context={"imported": settings})
    except ValidationError as error:
        line, message = (file if grid is not None else YamlFile("")).problem(error)
        raise GridError(f"--contrast: {message}" if grid is None else f"{path}:{line}: {message}") from None


def _check_joinable(trainings: Trainings, kinds: dict[str, type], earlier: StudyInfo) -> None:
    """Refuse rows that would not compare with the study's; ``kinds`` become its own."""
    study = earlier.study
    if earlier.cells[0]["model"] != "imported":
        raise StoreError(f"the study {study} was trained, not imported; give another --into, and compare by study diff")
    if earlier.roles.keys() != kinds.keys():
        has = f"the study {study} has the factors {', '.join(earlier.roles)}, not {', '.join(kinds)}"
        raise StoreError(f"{has}; give the same --factors, or another --into")
    for name, kind in kinds.items():
        value = earlier.cells[0][name]
        if (kind, type(value)) == (int, float):
            kinds[name] = float
        elif kind is not type(value):
            other = f"{type(value).__name__} in the study {study}"
            raise StoreError(f"{name} is {kind.__name__} in {trainings.file}, {other}; import both tables as one")


def _without_values(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a grid file says that a table does not: roles, contrasts, the question and the objective."""
    kept = {key: content[key] for key in KEYS if key in content}
    factors = content.get("factors")
    for name, factor in factors.items() if isinstance(factors, dict) else ():
        if isinstance(factor, dict) and "values" in factor:
            kept["factors"] = {**kept["factors"], name: {**factor, "values": []}}
    return kept


def _contrast(text: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return a contrast by what the command line says of it."""
    name, colon, sides = text.partition(":")
    plus, minus, other = sides.partition(" minus ")
    if not (colon and minus and name.strip()):
        raise GridError(f"--contrast {text}: expected NAME: FACTOR=VALUE, ... minus FACTOR=VALUE, ...")
    return {"name": name.strip(), "plus": [_condition(text, plus, kinds)], "minus": [_condition(text, other, kinds)]}


def _condition(text: str, side: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in side.split(","):
        name, _, value = map(str.strip, part.partition("="))
        if name not in kinds:
            raise GridError(f"--contrast {text}: no factor {name!r}; {suggest(name, kinds)}")
        try:
            found[name] = TypeAdapter(kinds[name]).validate_python(value)
        except ValidationError:
            raise GridError(f"--contrast {text}: {name} is {kinds[name].__name__}, not {value!r}") from None
    return found
