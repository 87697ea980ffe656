"""Trainings that were made elsewhere become rows of a study."""

import tempfile
from collections.abc import Sequence
from typing import cast

import pandas as pd

from analysis.stored import StoredMetric, StudyInfo
from study.imports.runs_table import Trainings
from study.store.merge import Merged, merge_studies
from study.store.rows import Row
from study.store.store import Store
from study.store.study_json import with_history
from trainables.config import TrainingSettings


def store_trainings(
    info: StudyInfo, cells: Sequence[TrainingSettings], trainings: Trainings, into: str, storage: str
) -> Merged:
    """Put trainings into a study, which may have others, as in a merge; raise StoreError.

    ``cells`` are those of ``trainings``, in the same order.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Store(folder, info.study)
        made.write_info(info)
        for cell, (_, rows) in zip(cells, trainings.cells(), strict=True):
            ids = {"study": info.study, "cell_id": cell.cell_id, "model": cell.model}
            # What is missing is null in a store.
            known = rows.astype(object).where(rows.notna(), None).assign(**ids)
            known["trial_id"] = known["seed"].map(cell.trial_id)
            trials = [_trial_row(_plain(own), cell, info.goal) for _, own in known.groupby("seed")]
            made.write_rows(cell, info.roles, trials, _plain(known) if "epoch" in known else [])
        # Whoever names a contrast of trainings that have ended may know how it comes out.
        made.write_info(with_history(info, None, made.read_trials()[0]))
        return merge_studies([made.folder.path], into, storage)


def _plain(rows: pd.DataFrame) -> list[Row]:
    return cast(list[Row], rows.to_dict("records"))


def _trial_row(epochs: Sequence[Row], cell: TrainingSettings, goal: StoredMetric) -> Row:
    """Return a training's row of ``trials``: its last row, and its best epoch if known."""
    row = dict(epochs[-1])
    if "epoch" in row:
        row["epochs"] = len(epochs)
    if row["status"] == "failed":
        return row | dict.fromkeys(cell.epoch_figures())
    objective = goal.column("val")
    judged = [epoch for epoch in epochs if "epoch" in epoch and epoch.get(objective) is not None]
    if judged:
        best = max(judged, key=lambda epoch: goal.sign * epoch[objective])
        row["best_epoch"] = best["epoch"]
        row |= {f"best_{name}": best.get(name) for name in cell.epoch_figures()}
    return row
