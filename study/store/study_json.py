"""study.json: how it is read, written, and joined with a grid, a cell or another study."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from analysis.stored import OtherSchemaError, StudyInfo
from study.store.files import Folder, StoreError
from trainables.config import TrainingSettings
from trainables.registry import describe_network, read_cell, settings_class

STUDY_JSON = "study.json"


def read_study_json(folder: Folder) -> StudyInfo | None:
    """Return the content of a study's study.json, or None without one; raise StoreError."""
    text = folder.read(STUDY_JSON)
    if text is None:
        return None
    path = f"{folder.path}/{STUDY_JSON}"
    try:
        return StudyInfo.parse(text)
    except OtherSchemaError as error:
        raise StoreError(f"{path} has {error}; use another --name") from None
    except ValueError as error:
        raise StoreError(f"{path} is not a study's: {error}; restore it or use another --name") from None


def write_study_json(folder: Folder, info: StudyInfo) -> None:
    """Replace a study's study.json."""
    folder.put(STUDY_JSON, json.dumps(info.as_dict(), indent=1).encode())


def config_of(stored: Mapping[str, Any]) -> TrainingSettings:
    """Return the settings of a cell of study.json."""
    return read_cell({name: value for name, value in stored.items() if name != "cell_id"})


def disagreements(first: StudyInfo, second: StudyInfo) -> list[tuple[str, Any, Any]]:
    """Return the settings that differ between two studies, factors of neither, with both values."""
    # Rows of the two would not compare. Of a factor of one of them, each cell says its value.
    varied = {*first.roles, *second.roles}
    found = []
    for name in {**first.protocol, **second.protocol}:
        one, other = _protocol(first, name), _protocol(second, name)
        if name not in varied and one != other:
            found.append((name, one, other))
    return found


def join_info(earlier: StudyInfo, later: StudyInfo) -> StudyInfo:
    """Return the study.json with everything of two studies, which have no ``disagreements``."""
    # If both say what can have one value only, such as the role of a factor, the later counts.
    roles = {**earlier.roles, **later.roles}
    contrasts = {contrast["name"]: contrast for contrast in (*earlier.contrasts, *later.contrasts)}
    cells = {}
    for cell in (*earlier.cells, *later.cells):
        cells[cell["cell_id"]] = {"cell_id": cell["cell_id"], **_defaults(cell), **cell}
    # A setting that has become a factor is no longer the same for all cells.
    protocol = {}
    for name in {**earlier.protocol, **later.protocol}:
        if name not in roles:
            protocol[name] = _protocol(later, name)
    return replace(
        later,
        roles=roles,
        contrasts=tuple(contrasts.values()),
        cells=tuple(cells.values()),
        seeds=tuple(sorted({*earlier.seeds, *later.seeds})),
        protocol=protocol,
        networks=_each_once((*earlier.networks, *later.networks)),
        runs=(*earlier.runs, *(run for run in later.runs if run not in earlier.runs)),
        search=earlier.search if later.search is None else later.search,
        confirms=earlier.confirms if later.confirms is None else later.confirms,
        others={**earlier.others, **later.others},
    )


def _each_once(networks: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    found = {}
    for network in networks:
        # Batch normalisation and width show in the number of parameters.
        found[network["model"], network["sharing"], network.get("parameters")] = network
    return tuple(found.values())


def with_cell(info: StudyInfo, cell: TrainingSettings) -> StudyInfo:
    """Return study.json with one more cell."""
    added = {"cell_id": cell.cell_id, **cell.model_dump()}
    return replace(with_networks(info, [cell]), cells=(*info.cells, added))


def with_networks(info: StudyInfo, cells: Iterable[TrainingSettings]) -> StudyInfo:
    """Return study.json with the layers of the cells' networks, each network once."""
    described = filter(None, map(describe_network, cells))
    return replace(info, networks=_each_once((*info.networks, *described)))


def _protocol(info: StudyInfo, name: str) -> Any:
    return info.protocol.get(name, _defaults(info.cells[0]).get(name))


def _defaults(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a cell's settings: it had them if they were added after its study was run."""
    fields = settings_class(cell["model"]).model_fields
    return {name: field.default for name, field in fields.items() if not field.is_required()}
