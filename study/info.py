"""What study.json says when something joins a study: cells and seeds of a grid, another factor, another study."""

from collections.abc import Iterable, Mapping
from typing import Any

from trainables.config import CellConfig, CellSettings
from trainables.models import read_cell, settings_class


def config_of(stored: Mapping[str, Any]) -> CellSettings:
    """Return a cell of study.json."""
    return read_cell({name: value for name, value in stored.items() if name != "cell_id"})


def disagreements(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return each setting that is a factor in neither of two study.json and has another value in each: rows of both
    would not compare. A setting that is a factor in one of them is no such: cells say its value.
    """
    varied = {*first["roles"], *second["roles"]}
    names = [name for name in {**first["protocol"], **second["protocol"]} if name not in varied]
    pairs = [(name, _protocol(first, name), _protocol(second, name)) for name in names]
    return [(name, one, other) for name, one, other in pairs if one != other]


def join_info(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study.json of what has both, where there are no ``disagreements``.

    What only one can say, such as the role of a factor, the later says.
    """
    roles = {**earlier["roles"], **later["roles"]}
    contrasts = {contrast["name"]: contrast for info in (earlier, later) for contrast in info.get("contrasts", [])}
    cells = {cell["cell_id"]: _complete(cell) for info in (earlier, later) for cell in info["cells"]}
    networks = {network_key(network): network for info in (earlier, later) for network in info.get("networks", [])}
    runs = [*earlier["runs"], *(run for run in later["runs"] if run not in earlier["runs"])]
    return {
        **earlier,
        **later,
        "roles": roles,
        "contrasts": list(contrasts.values()),
        "cells": list(cells.values()),
        "seeds": sorted({*earlier["seeds"], *later["seeds"]}),
        "protocol": {
            name: _protocol(later, name) for name in {**earlier["protocol"], **later["protocol"]} if name not in roles
        },
        "networks": list(networks.values()),
        "runs": runs,
    }


def network_key(network: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell networks apart: batch normalisation and width change the number of parameters."""
    return network["model"], network["sharing"], network.get("parameters")


def _protocol(info: Mapping[str, Any], name: str) -> Any:
    return info["protocol"].get(name, _defaults(info["cells"][0]).get(name))


def _complete(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {"cell_id": cell["cell_id"], **_defaults(cell), **cell}


def _defaults(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell had of settings that came after its study was run."""
    fields = settings_class(cell["model"]).model_fields if "model" in cell else CellConfig.model_fields
    return {name: field.default for name, field in fields.items() if not field.is_required()}


def with_cell(info: Mapping[str, Any], cell: CellSettings) -> dict[str, Any]:
    """Return the study.json of what has one more cell."""
    return with_networks(info, [cell]) | {"cells": [*info["cells"], {"cell_id": cell.cell_id, **cell.model_dump()}]}


def with_networks(info: Mapping[str, Any], cells: Iterable[CellSettings]) -> dict[str, Any]:
    """Return study.json with the layers of the networks that the cells train, each once."""
    from trainables.networks import describe_network

    reported = [cell for cell in cells if isinstance(cell, CellConfig)]
    described = [*info.get("networks", []), *map(describe_network, reported)]
    return {**info, "networks": list({network_key(network): network for network in described}.values())}
