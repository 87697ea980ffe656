"""study.json: how it is read, written, and joined with a grid, a cell or another study."""

import json
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from analysis.settings import listed_orders
from analysis.stored import FINISHED, ROLES, OtherSchemaError, StoredMetric, StudyInfo
from study.store.files import Folder, StoreError
from trainables.config import Draw, TrainingSettings
from trainables.registry import describe_network, read_cell, settings_class

STUDY_JSON = "study.json"
DRAWS = ("fresh", "resplit", "same")  # from what says most of new data to what says least


def read_study_json(folder: Folder) -> StudyInfo | None:
    """Return the content of a study's study.json, or None without one; raise StoreError."""
    text = folder.read(STUDY_JSON)
    if text is None:
        return None
    return parse_study_json(text, f"{folder.path}/{STUDY_JSON}")


def parse_study_json(text: bytes, path: str) -> StudyInfo:
    """Return the content of the study.json at a path; raise StoreError."""
    try:
        return StudyInfo.parse(text)
    except OtherSchemaError as error:
        raise StoreError(f"{path} has {error}; use another --name") from None
    except ValueError as error:
        raise StoreError(f"{path} is not a study's: {error}; restore it or use another --name") from None


def write_study_json(folder: Folder, info: StudyInfo) -> None:
    """Replace a study's study.json."""
    folder.put(STUDY_JSON, json.dumps(info.as_dict(), indent=1).encode())


def check_trained(info: StudyInfo | None) -> None:
    """Raise StoreError if the trainings of a study were made elsewhere: none can be added here."""
    if info is not None and any(cell["model"] == "imported" for cell in info.cells):
        raise StoreError(f"the study {info.study} was imported: nothing can be trained in it; use another --name")


def config_of(stored: Mapping[str, Any]) -> TrainingSettings:
    """Return the settings of a cell of study.json."""
    return read_cell({name: value for name, value in stored.items() if name != "cell_id"})


def disagreements(first: StudyInfo, second: StudyInfo) -> list[tuple[str, Any, Any]]:
    """Return the settings that differ between two studies, factors of neither, with both values."""
    # Rows of the two would not compare. Of a factor of one of them, each cell says its value.
    varied = {*first.roles, *second.roles}
    found = []
    for name in {**first.protocol, **second.protocol}:
        one, other = _values(first, name), _values(second, name)
        # Other models may lack a setting, or cells say what rules have set: that tells them apart.
        if name not in varied and len(one) == len(other) == 1 and one != other:
            found.append((name, one[0], other[0]))
    return found


def check_metrics(first: str, one: StudyInfo, second: str, other: StudyInfo, fix: str) -> None:
    """Raise StoreError if two studies, by their names, mean different things by a metric."""
    for metric in one.metrics:
        for now in other.metrics:
            if metric.name == now.name and metric != now:
                what = f"{_describe(metric)} and {_describe(now)}"
                raise StoreError(f"the metric {metric.name} differs in {first} and {second} ({what}): {fix}")


def _describe(metric: StoredMetric) -> str:
    return f"{metric.goal}, unit {metric.unit!r}, scale {metric.scale:g}"


def shared_settings(cells: Sequence[Mapping[str, Any]], roles: Container[str]) -> dict[str, Any]:
    """Return the protocol: the settings, no factors, that are the same for all cells that have them."""
    found: dict[str, Any] = {}
    differing = {"cell_id"}
    for cell in cells:
        for name, value in cell.items():
            if name not in roles and found.setdefault(name, value) != value:
                differing.add(name)
    return {name: value for name, value in found.items() if name not in differing}


def shared_draw(draws: Iterable[Draw | None]) -> dict[str, Any] | None:
    """Return what can be said of the data of all seeds: the draw that says least, None if one is unknown."""
    said: list[dict[str, Any]] = []
    for draw in set(draws):
        if draw is None:
            return None
        said.append(asdict(draw))
    # A larger test part makes the interval for new data wider.
    return max(said, key=lambda draw: (DRAWS.index(draw["each_seed"]), draw["test_per_train"] or 0), default=None)


def _joined_contrasts(earlier: StudyInfo, later: StudyInfo) -> tuple[Mapping[str, Any], ...]:
    """Return the contrasts of both, each as it was first named; raise StoreError for one with other cells."""
    # Versions before this one did not write down when a contrast was named.
    found = {contrast["name"]: {"first_named": None, **contrast} for contrast in earlier.contrasts}
    for contrast in later.contrasts:
        known = found.setdefault(contrast["name"], dict(contrast))
        if compared(known) != compared(contrast):
            raise StoreError(
                f"the contrast {contrast['name']!r} compared other cells when it was first named in "
                f"{earlier.study}, and a contrast may not change after that; give the new one another name"
            )
        stamps = [known.get("first_named"), contrast.get("first_named", known.get("first_named"))]
        if "first_named" in known:
            known["first_named"] = None if None in stamps else min(stamps, key=itemgetter("at"))
        known["seen"] = sorted({*known.get("seen", ()), *contrast.get("seen", ())})
    return tuple(found.values())


def compared(contrast: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what defines a contrast, beside its name."""
    return contrast["plus"], contrast["minus"]


def with_history(info: StudyInfo, earlier: StudyInfo | None, trials: Iterable[Mapping[str, Any]]) -> StudyInfo:
    """Return study.json whose contrasts say when they were named, and which of their results had been seen.

    ``first_named`` has the time, and how many trainings of the contrast's cells had finished then. ``seen`` has
    each number of seeds with which the contrast was complete when more seeds were asked for. ``earlier`` is
    study.json before this run, and ``trials`` are the rows of the store.
    """
    ended = Counter(row["cell_id"] for row in trials if row["status"] in FINISHED)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = 0 if earlier is None else len(earlier.seeds)
    known = () if earlier is None else earlier.contrasts
    contrasts = []
    for contrast in info.contrasts:
        counts = [_counts(condition, info, ended) for condition in (*contrast["plus"], *contrast["minus"])]
        stamp = {"at": now, "trainings": sum(map(sum, counts))}
        contrast = {"first_named": stamp, "seen": [], **_named_before(contrast, known), **contrast}
        complete = all(max(own, default=0) >= before for own in counts)
        if 0 < before < len(info.seeds) and complete:
            contrast["seen"] = sorted({*contrast["seen"], before})
        contrasts.append(contrast)
    return replace(info, contrasts=tuple(contrasts))


def _named_before(contrast: Mapping[str, Any], known: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the contrast as it was named before, if it compared the same cells then."""
    for other in known:
        if other["name"] == contrast["name"] and compared(other) == compared(contrast):
            return {"first_named": None, **other}
    return {}


def _counts(condition: Mapping[str, Any], info: StudyInfo, ended: Mapping[str, int]) -> list[int]:
    """Return how many trainings have finished of each cell that a condition can stand for."""
    return [ended[cell["cell_id"]] for cell in info.cells if condition.items() <= cell.items()]


def join_info(earlier: StudyInfo, later: StudyInfo) -> StudyInfo:
    """Return the study.json with everything of two studies, which have no ``disagreements``."""
    # If both say what can have one value only, the later counts; but a role is never weakened.
    roles = dict(earlier.roles)
    for name, role in later.roles.items():
        roles[name] = min(role, roles.get(name, role), key=ROLES.index)
    cells = {}
    for cell in (*earlier.cells, *later.cells):
        cells[cell["cell_id"]] = {"cell_id": cell["cell_id"], **_defaults(cell), **cell}
    metrics = {metric.name: metric for metric in (*earlier.metrics, *later.metrics)}
    seeds, further = _join_seeds(earlier, later, cells)
    return replace(
        later,
        roles=roles,
        contrasts=_joined_contrasts(earlier, later),
        cells=tuple(cells.values()),
        seeds=seeds,
        # A setting that has become a factor is no longer the same for all cells.
        protocol=shared_settings(tuple(cells.values()), roles),
        metrics=tuple(metrics.values()),
        networks=_each_once((*earlier.networks, *later.networks)),
        runs=(*earlier.runs, *(run for run in later.runs if run not in earlier.runs)),
        search=earlier.search if later.search is None else later.search,
        replicate=earlier.replicate if later.replicate is None else later.replicate,
        further_seeds=further,
        confirms=earlier.confirms if later.confirms is None else later.confirms,
        orders=_all_orders(earlier, later),
        draw=shared_draw([Draw(**draw) for draw in (earlier.draw, later.draw) if draw]),
        others={**earlier.others, **later.others},
    )


def _all_orders(*infos: StudyInfo) -> dict[str, list[tuple[str, ...]]]:
    """Return the orders that the grids of studies give, each once; which study comes first makes no difference."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for info in infos:
        for what, orders in listed_orders(info).items():
            found[what] = sorted({*map(tuple, found.get(what, ())), *map(tuple, orders)})
    return found


def _join_seeds(
    earlier: StudyInfo, later: StudyInfo, cells: Collection[str]
) -> tuple[tuple[int, ...], dict[str, list[int]]]:
    """Return the seeds of all cells, and the further ones by cell: those that all have got are further no more."""
    seeds = {*earlier.seeds, *later.seeds}
    own = {}
    for cell_id in cells:
        own[cell_id] = seeds.union(earlier.further_seeds.get(cell_id, ()), later.further_seeds.get(cell_id, ()))
    seeds = set.intersection(*own.values())
    further = {cell_id: sorted(has - seeds) for cell_id, has in own.items() if has > seeds}
    return tuple(sorted(seeds)), further


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


def _values(info: StudyInfo, name: str) -> list[Any]:
    """Return the values that the cells of a study have of a setting, each once; none if no model has it."""
    if name in info.protocol:
        return [info.protocol[name]]
    found: list[Any] = []
    for cell in info.cells:
        settings = {**_defaults(cell), **cell}
        if name in settings and settings[name] not in found:
            found.append(settings[name])
    return found


def _defaults(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a cell's settings: it had them if they were added after its study was run."""
    fields = settings_class(cell["model"]).model_fields
    found = {}
    for name, field in fields.items():
        if not field.is_required():
            found[name] = field.get_default(call_default_factory=True)
    return found
