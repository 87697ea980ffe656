"""``study merge``: the trials of other studies join one, each once. Nothing is trained; the others stay as they are."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from analysis.stored import CIRCUMSTANCES, FINISHED, RANK, StudyInfo
from study.store.files import StoreError
from study.store.heartbeat import Heartbeat
from study.store.store import READERS, Store, locate
from study.store.study_json import disagreements, join_info

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """A trial that was finished twice with different numbers; ``kept`` and ``left`` are its test accuracies."""

    trial_id: str
    kept: float
    left: float


@dataclass(frozen=True)
class Joined:
    """What a study brought, in trials: ``added``, of which ``replaced`` stand for pruned or failed ones; ``there``
    already as good. ``unreadable`` names files that are left out.
    """

    added: int
    replaced: int
    there: int
    conflicts: tuple[Conflict, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Merged:
    """What a merge did: the study that it filled, files of it that were set aside, and what each source brought."""

    target: Store
    set_aside: tuple[str, ...]
    brought: tuple[tuple[str, Joined], ...]


def joined_info(study: str, infos: Sequence[tuple[str, StudyInfo]]) -> StudyInfo:
    """Return the study.json of all; each comes with what the user calls it. Raises StoreError where they disagree."""
    first, joined = infos[0]
    for other, info in infos[1:]:
        for name, one, another in disagreements(joined, info):
            raise StoreError(
                f"{first} was run with {name} {one}, {other} with {another}: rows of both would not compare; run one "
                f"of them again with a grid in which {name} is a factor (that trains nothing), then merge"
            )
        for what, one, another in _contradictions(joined, info):
            raise StoreError(
                f"{what} is {one} in {first} and {another} in {other}; "
                "run one of them again with the grid of the other (that trains nothing), then merge"
            )
        if joined.confirms != info.confirms:
            raise StoreError(f"only one of {first} and {other} is a confirmation, or of another study; merge likes")
        joined = join_info(joined, info)
    runs = tuple(sorted(joined.runs, key=lambda run: run.get("started_at", "")))
    return replace(joined, study=study, grid=infos[0][1].grid, runs=runs)


def _contradictions(first: StudyInfo, second: StudyInfo) -> list[tuple[str, Any, Any]]:
    """Return what both name, but not alike: roles of factors, and contrasts."""
    found: list[tuple[str, Any, Any]] = []
    for name, role in first.roles.items():
        found.append((f"the role of {name}", role, second.roles.get(name, role)))
    contrasts = {contrast["name"]: contrast for contrast in second.contrasts}
    for contrast in first.contrasts:
        found.append((f"the contrast {contrast['name']!r}", contrast, contrasts.get(contrast["name"], contrast)))
    return [(what, one, other) for what, one, other in found if one != other]


def join_trials(source: Store, target: Store, held: dict[str, Row]) -> Joined:
    """Copy the trials that the target lacks, or holds pruned or failed where the source has better.

    ``held`` are the rows that the target has, by trial id; those that join are added. A trial that both have finished
    stays as the target has it. What joining rows supersede is for ``Store.repair`` to remove.
    """
    seen, chosen, there = dict(held), dict[str, list[Row]](), 0
    conflicts, unreadable = [], []
    for name, trials in source.read_parts():
        if trials is None:
            unreadable.append(f"trials/{name}")
            continue
        for row in trials.to_pylist():
            here = seen.get(row["trial_id"])
            if here is None or RANK[row["status"]] < RANK[here["status"]]:
                seen[row["trial_id"]] = row
                chosen.setdefault(name, []).append(row)
            elif here["status"] in FINISHED and row["status"] in FINISHED and not _same_numbers(here, row):
                conflicts.append(Conflict(row["trial_id"], here["test_accuracy"], row["test_accuracy"]))
            else:
                there += 1
    added = replaced = 0
    with ThreadPoolExecutor(READERS) as pool:
        ids = [{row["trial_id"] for row in rows} for rows in chosen.values()]
        copied = list(pool.map(lambda name, ids: target.adopt(source, name, ids), chosen, ids))
    for (name, rows), whole in zip(chosen.items(), copied, strict=True):
        if not whole:
            unreadable.append(f"epochs/{name}")
            continue
        added += len(rows)
        replaced += sum(row["trial_id"] in held for row in rows)
        held.update({row["trial_id"]: row for row in rows})
    return Joined(added, replaced, there, tuple(conflicts), tuple(unreadable))


def _same_numbers(one: Row, other: Row) -> bool:
    """Tell whether two rows of a trial differ in nothing but when and where, as far as both tell."""
    return all(one[name] == other[name] for name in one.keys() & other.keys() - CIRCUMSTANCES)


def merge_studies(sources: Sequence[str], into: str, storage: str) -> Merged:
    """Let studies join one, which may be new.

    Raises StoreError, before anything is written, where a driver runs one of them or they cannot be one study. An
    interrupted merge is finished by the same command: what is there already is not copied again.
    """
    target, stores = locate(into, storage), [locate(source, storage) for source in sources]
    infos = [(source, store.known_info()) for source, store in zip(sources, stores, strict=True)]
    for source, store in zip(sources, stores, strict=True):
        if _same_folder(store, target):
            raise StoreError(f"{source} is the study to merge into; name only the others")
        Heartbeat(store.folder).check_free()
    joined_info(target.study, _with(target, infos))
    brought = []
    with Heartbeat(target.folder) as heartbeat:
        target.write_info(joined_info(target.study, _with(target, infos)))
        set_aside = target.repair()
        held: dict[str, Row] = {row["trial_id"]: row for row in target.read_trials()[0]}
        for source, store in zip(sources, stores, strict=True):
            brought.append((source, join_trials(store, target, held)))
            heartbeat.check()
        target.repair()
    return Merged(target, tuple(set_aside), tuple(brought))


def _same_folder(one: Store, other: Store) -> bool:
    return bool(one.folder.path == other.folder.path and one.folder.filesystem.equals(other.folder.filesystem))


def _with(target: Store, infos: list[tuple[str, StudyInfo]]) -> list[tuple[str, StudyInfo]]:
    info = target.read_info()
    return infos if info is None else [(target.study, info), *infos]
