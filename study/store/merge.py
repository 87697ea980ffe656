"""``study merge``: copy the trials of several studies, each once, into one. The sources do not change."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from analysis.stored import CIRCUMSTANCES, FINISHED, RANK, StoredMetric, StudyInfo
from study.store.files import StoreError
from study.store.heartbeat import Heartbeat
from study.store.rows import Row
from study.store.store import Store, locate
from study.store.study_json import check_metrics, compared, disagreements, join_info


@dataclass(frozen=True)
class Conflict:
    """A trial that both have finished with different numbers: a column that differs, kept and left out."""

    trial_id: str
    column: str
    kept: Any
    left: Any


@dataclass(frozen=True)
class Joined:
    """What a merge took from one study, counted in trials.

    ``added`` counts new ones, ``replaced`` those of them that replace pruned or failed ones, and
    ``there`` those that the target already had. ``unreadable`` says what is wrong with files that are left out.
    """

    added: int
    replaced: int
    there: int
    conflicts: tuple[Conflict, ...]
    unreadable: Mapping[str, str]


@dataclass(frozen=True)
class Merged:
    """What a merge did: the study that it filled, files that were set aside, and what each source gave."""

    target: Store
    set_aside: Mapping[str, str]
    brought: tuple[tuple[str, Joined], ...]


def joined_info(study: str, infos: Sequence[tuple[str, StudyInfo]]) -> StudyInfo:
    """Return one study.json of all studies, each with its typed name; raise StoreError if they disagree."""
    first, joined = infos[0]
    for other, info in infos[1:]:
        _check_joinable(first, joined, other, info)
        joined = join_info(joined, info)
        for cell in joined.cells:
            # Imported trainings have no settings but their factors.
            if absent := ", ".join(joined.roles.keys() - cell.keys()):
                raise StoreError(f"{first} and {other} have other factors: a cell has no {absent}; keep them apart")
    runs = tuple(sorted(joined.runs, key=lambda run: run.get("started_at", "")))
    return replace(joined, study=study, grid=infos[0][1].grid, runs=runs)


def _check_joinable(first: str, joined: StudyInfo, other: str, info: StudyInfo) -> None:
    for name, one, another in disagreements(joined, info):
        fix = f"run one of them again with {name} as a factor of its grid (that trains nothing), then merge"
        raise StoreError(
            f"{first} was run with {name} {one}, {other} with {another}: rows of both would not compare; {fix}"
        )
    check_metrics(first, joined, other, info, "merge studies whose models report the same")
    for what, one, another in _contradictions(joined, info):
        raise StoreError(
            f"{what} is {one} in {first} and {another} in {other}; "
            "let both grids say the same, run both again (that trains nothing), then merge"
        )
    if joined.confirms != info.confirms:
        raise StoreError(
            f"only one of {first} and {other} is a confirmation, or they confirm different studies; "
            "merge studies of the same kind"
        )


def _contradictions(first: StudyInfo, second: StudyInfo) -> Iterator[tuple[str, Any, Any]]:
    """Yield the contrasts and objective on which two studies differ, with what each says."""
    if first.objective != second.objective:
        yield "the objective", first.objective, second.objective
    if None not in (first.replicate, second.replicate) and first.replicate != second.replicate:
        yield "the rule that decides contrasts", first.replicate, second.replicate
    if first.selected_part != second.selected_part:
        yield "the part of the data that chooses cells", first.selected_part, second.selected_part
    for one in first.contrasts:
        for other in second.contrasts:
            if one["name"] == other["name"] and compared(one) != compared(other):
                yield f"the contrast {one['name']!r}", one, other


def _choose(source: Store, held: Mapping[str, Row], objective: StoredMetric) -> tuple[dict[str, list[Row]], Joined]:
    """Return the rows, by part, that are better than those held, and what is known of the others."""
    best = dict(held)
    better: dict[str, list[Row]] = {}
    there = 0
    conflicts = []
    parts, unreadable = source.read_parts()
    for name, trials in parts.items():
        for row in trials.to_pylist():
            trial_id = row["trial_id"]
            here = best.get(trial_id)
            if here is None or RANK[row["status"]] < RANK[here["status"]]:
                best[trial_id] = row
                better.setdefault(name, []).append(row)
            elif {here["status"], row["status"]} <= set(FINISHED) and (differing := _differing(here, row, objective)):
                conflicts.append(Conflict(trial_id, differing, here[differing], row[differing]))
            else:
                there += 1
    return better, Joined(0, 0, there, tuple(conflicts), unreadable)


def join_trials(source: Store, target: Store, held: dict[str, Row], objective: StoredMetric) -> Joined:
    """Copy the trials that the target lacks, or of which the source has a better row.

    ``held`` has the target's rows by trial id; new rows are added to it. A trial that both
    have finished stays as it is in the target. ``Store.repair`` removes replaced rows.
    """
    better, seen = _choose(source, held, objective)

    def copy(name: str) -> pa.Table:
        return target.parts.copy(source.parts, name, {row["trial_id"] for row in better[name]})

    # Only what was copied counts: a part whose epochs cannot be read is not taken.
    unreadable = {**seen.unreadable}
    added = replaced = 0
    for name in target.parts.each(copy, list(better), unreadable):
        added += len(better[name])
        for row in better[name]:
            replaced += row["trial_id"] in held
            held[row["trial_id"]] = row
    return replace(seen, added=added, replaced=replaced, unreadable=unreadable)


def _differing(one: Row, other: Row, objective: StoredMetric) -> str | None:
    """Return a column that differs between two rows of a trial, beside when and where; the objective's first."""
    # Rows of other versions, or of a grid with other factors, may lack a column.
    names = [objective.column("test"), objective.column("val"), *one]
    both = one.keys() & other.keys() - CIRCUMSTANCES
    return next((name for name in names if name in both and one[name] != other[name]), None)


def merge_studies(sources: Sequence[str], into: str, storage: str) -> Merged:
    """Merge studies into one, which may be new.

    Raises StoreError, before it writes, if one of them is being run or they cannot be one study.
    After an interruption the same command finishes the merge: nothing is copied twice.
    """
    target = locate(into, storage)
    stores = [(source, locate(source, storage)) for source in sources]
    infos = [(source, store.known_info()) for source, store in stores]
    for source, store in stores:
        one, other = store.folder, target.folder
        if one.filesystem.equals(other.filesystem) and one.path == other.path:
            raise StoreError(f"{source} is the study to merge into; name only the others")
        Heartbeat(store.folder).check_free()
    joined_info(target.study, _with(target, infos))
    brought = []
    with Heartbeat(target.folder) as heartbeat:
        # study.json comes first: rows of cells that it does not name would be no one's.
        info = joined_info(target.study, _with(target, infos))
        target.write_info(info)
        set_aside = target.repair()
        held: dict[str, Row] = {row["trial_id"]: row for row in target.read_trials()[0]}
        for source, store in stores:
            brought.append((source, join_trials(store, target, held, info.goal)))
            heartbeat.check()
        target.repair()
    return Merged(target, set_aside, tuple(brought))


def _with(target: Store, infos: list[tuple[str, StudyInfo]]) -> list[tuple[str, StudyInfo]]:
    info = target.read_info()
    return infos if info is None else [(target.study, info), *infos]
