"""What study.json says when something joins a study: cells and seeds of a grid, another factor, another study."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from analysis.stored import StudyInfo
from trainables.config import CellSettings
from trainables.registry import describe_network, read_cell, settings_class


def config_of(stored: Mapping[str, Any]) -> CellSettings:
    """Return a cell of study.json."""
    return read_cell({name: value for name, value in stored.items() if name != "cell_id"})


def disagreements(first: StudyInfo, second: StudyInfo) -> list[tuple[str, Any, Any]]:
    """Return each setting that is a factor in neither of two studies and has another value in each.

    Rows of both would not compare. A setting that is a factor in one of them is no such: cells say its value.
    """
    varied = {*first.roles, *second.roles}
    names = [name for name in {**first.protocol, **second.protocol} if name not in varied]
    pairs = [(name, _protocol(first, name), _protocol(second, name)) for name in names]
    return [(name, one, other) for name, one, other in pairs if one != other]


def join_info(earlier: StudyInfo, later: StudyInfo) -> StudyInfo:
    """Return the study.json of what has both, where there are no ``disagreements``.

    What only one can say, such as the role of a factor, the later says.
    """
    roles = {**earlier.roles, **later.roles}
    protocol = {**earlier.protocol, **later.protocol}
    contrasts = {contrast["name"]: contrast for contrast in (*earlier.contrasts, *later.contrasts)}
    cells = {cell["cell_id"]: _complete(cell) for cell in (*earlier.cells, *later.cells)}
    networks = {network_key(network): network for network in (*earlier.networks, *later.networks)}
    return replace(
        later,
        roles=roles,
        contrasts=tuple(contrasts.values()),
        cells=tuple(cells.values()),
        seeds=tuple(sorted({*earlier.seeds, *later.seeds})),
        protocol={name: _protocol(later, name) for name in protocol if name not in roles},
        networks=tuple(networks.values()),
        runs=(*earlier.runs, *(run for run in later.runs if run not in earlier.runs)),
        search=earlier.search if later.search is None else later.search,
        confirms=earlier.confirms if later.confirms is None else later.confirms,
        others={**earlier.others, **later.others},
    )


def network_key(network: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell networks apart: batch normalisation and width change the number of parameters."""
    return network["model"], network["sharing"], network.get("parameters")


def _protocol(info: StudyInfo, name: str) -> Any:
    return info.protocol.get(name, _defaults(info.cells[0]).get(name))


def _complete(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {"cell_id": cell["cell_id"], **_defaults(cell), **cell}


def _defaults(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell had of settings that came after its study was run."""
    fields = settings_class(cell["model"]).model_fields
    return {name: field.default for name, field in fields.items() if not field.is_required()}


def with_cell(info: StudyInfo, cell: CellSettings) -> StudyInfo:
    """Return the study.json of what has one more cell."""
    added = {"cell_id": cell.cell_id, **cell.model_dump()}
    return replace(with_networks(info, [cell]), cells=(*info.cells, added))


def with_networks(info: StudyInfo, cells: Iterable[CellSettings]) -> StudyInfo:
    """Return study.json with the layers of the networks that the cells train, each once."""
    described = [*info.networks, *filter(None, map(describe_network, cells))]
    return replace(info, networks=tuple({network_key(network): network for network in described}.values()))
