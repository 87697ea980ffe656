"""Where each contrast of a study stands at its planned looks: a pure function of the store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import StudyData
from analysis.output.sheet import Column, Sheet, gain_columns, in_unit, probability
from analysis.statistics.cells import by_seed
from analysis.statistics.collapse import collapsed_seeds
from analysis.statistics.looks import DECIDED, Decision, Replication, Values, decide
from analysis.statistics.selection import fixed_contrasts
from analysis.stored import AnalysisError, StoredMetric


@dataclass(frozen=True)
class Standing:
    """Where a contrast stands, by its differences ``[n]`` as stored, one for each seed that counts.

    ``cells`` are the ids of its cells, none if these are not known yet. ``held`` says why seeds that are
    planned do not count, or is empty: a value that is missing holds back all seeds after it.
    """

    name: str
    cells: tuple[str, ...]
    differences: Values
    held: str
    decision: Decision


def standings(data: StudyData, plan: Replication | None = None) -> list[Standing]:
    """Decide the study's contrasts by ``plan``, by default its own, which it then has."""
    plan = plan or replication_of(data)
    every = data.info.all_seeds
    # A condition that several cells match stands for the one that the seeds of the first look choose.
    first = replace(data, info=replace(data.info, seeds=every[: plan.looks[0]], further_seeds={}))
    chosen = {contrast["name"]: contrast for contrast in fixed_contrasts(first)}
    collapsed = _collapsed(data, plan.looks)
    values = by_seed(replace(data, info=replace(data.info, seeds=every)), data.reported).mask(collapsed)

    found = []
    for contrast in data.info.contrasts:
        name = contrast["name"]
        if name not in chosen:
            held = f"not all of its cells have finished {plan.looks[0]} seeds"
            found.append((name, (), np.empty(0), held))
            continue
        plus = [condition["cell_id"] for condition in chosen[name]["plus"]]
        minus = [condition["cell_id"] for condition in chosen[name]["minus"]]
        differences = values.loc[plus].sum(skipna=False) - values.loc[minus].sum(skipna=False)
        counted = int(differences.notna().cumprod().sum())
        cells = (*plus, *minus)
        held = ""
        if counted < _planned(data, cells):
            seed = every[counted]
            what = "has collapsed" if collapsed.loc[[*cells], seed].any() else "has no result yet"
            held = f"seed {seed} of one of its cells {what}"
        found.append((name, cells, differences.to_numpy(float)[:counted], held))
    decisions = decide([differences for *_, differences, _ in found], plan)
    return [Standing(*each, decision) for each, decision in zip(found, decisions, strict=True)]


def _collapsed(data: StudyData, looks: Sequence[int]) -> pd.DataFrame:
    """Tell for each cell and seed whether it has collapsed, by the seeds up to the first look that it is in."""
    every = data.info.all_seeds
    found = []
    for before, look in pairwise((0, *looks)):
        # Seeds that came later must not change what an earlier look has decided.
        then = replace(data, info=replace(data.info, seeds=every[:look], further_seeds={}))
        found.append(collapsed_seeds(then).iloc[:, before:])
    return pd.concat(found, axis=1).reindex(columns=every, fill_value=False)


def _planned(data: StudyData, cells: Sequence[str]) -> int:
    """Return how many seeds all of some cells have when everything is trained."""
    further = [set(data.info.further_seeds.get(cell_id, ())) for cell_id in cells]
    return len(data.info.seeds) + len(set.intersection(*further))


def replication_of(data: StudyData, margin: float | None = None) -> Replication:
    """Return the study's looks, or one look at all its seeds; ``margin``, if given, replaces its own.

    The result has the margin as differences are stored. Raises AnalysisError for a study of one seed.
    """
    plan: Mapping[str, Any] = data.info.replicate or {"looks": [len(data.info.seeds)], "margin": 0.0, "alpha": 0.05}
    if plan["looks"][0] < 2:
        raise AnalysisError(f"the study {data.name} has one seed, which decides nothing; run it with more --seeds")
    wanted = plan["margin"] if margin is None else margin
    return Replication(tuple(plan["looks"]), wanted / data.info.goal.scale, plan["alpha"])


def describe_standing(standing: Standing, goal: StoredMetric) -> str:
    """Say in one line where a contrast stands."""
    found = standing.decision
    mean = f"{goal.format_difference(found.mean)} ({goal.number(found.low, '+')} to {goal.number(found.high, '+')})"
    known = f"known to ±{goal.format_difference(found.half_width).lstrip('+')}"
    text = {
        "differs": f"differs, {mean}, n = {found.n}",
        "within": f"within the margin, {mean}, n = {found.n}",
        "undecided": f"undecided, {mean}, {known}, n = {found.n}",
        "waiting": "waiting",
    }[found.verdict]
    if found.next_look is not None:
        text += f"; next look at {found.next_look} seeds, {found.next_look - found.n} to come"
    held = standing.held and found.verdict not in DECIDED
    return f"{standing.name}: {text}{f'; held back: {standing.held}' if held else ''}"


def standings_sheet(data: StudyData, found: Sequence[Standing]) -> Sheet:
    """List where each contrast stands."""
    goal, plan = data.info.goal, replication_of(data)
    rows = []
    for standing in found:
        row = {"name": standing.name, **asdict(standing.decision), "half_width": standing.decision.half_width}
        rows.append(row | {"cells": " ".join(standing.cells), "held": standing.held or None})
    looks = ", ".join(map(str, plan.looks))
    caption = (
        f"Decisions at {looks} seeds about {goal.in_words(data.reported_part)}{in_unit(goal)}: a contrast differs if "
        f"its p value, corrected for the looks and the number of contrasts, is at most {plan.alpha:g}. It is within "
        f"the margin of {goal.format_difference(plan.margin).lstrip('+')} if its interval is. The intervals hold for "
        "all contrasts and looks together. A decision is final."
    )
    _, interval = gain_columns(goal)
    columns = (
        Column("contrast", lambda row: row["name"]),
        Column("decision", lambda row: row["verdict"]),
        gain_columns(goal)[0],
        replace(interval, heading="simultaneous interval"),
        Column("±", lambda row: goal.number(row["half_width"]), numeric=True),
        Column("p, looks and Holm", lambda row: probability(row["p_holm"]), numeric=True),
        Column("n", lambda row: str(row["n"] or ""), numeric=True),
        Column("next look", lambda row: str(row["next_look"] or ""), numeric=True),
        Column("held back", lambda row: row["held"] or ""),
    )
    return Sheet("decisions", "Where the contrasts stand", caption, columns, tuple(rows))
