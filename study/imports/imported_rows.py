"""Trainings that were made elsewhere become rows of a study."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.stored import StudyInfo
from study.imports.runs_table import Trainings
from study.store.merge import Merged, joined_info, merge_studies
from study.store.rows import Row
from study.store.store import Store, locate
from trainables.config import TrainingSettings


def store_trainings(
    info: StudyInfo, cells: Sequence[TrainingSettings], trainings: Trainings, into: str, storage: str
) -> Merged:
    """Put trainings into a study, which may have others; raise StoreError, and then nothing has changed.

    ``cells`` are those of ``trainings``, in the same order. They join a study as in a merge.
    """
    target = locate(into, storage)
    if (earlier := target.read_info()) is not None:
        joined_info(info.study, [(into, earlier), (trainings.file, info)])
    with tempfile.TemporaryDirectory() as folder:
        made = Store(folder, info.study)
        made.write_info(info)
        for cell, (_, rows) in zip(cells, trainings.cells(), strict=True):
            factors = {name: getattr(cell, name) for name in info.roles}
            of_seeds = [list(_known(own)) for _, own in rows.groupby("seed")]
            trials = [_trial_row(info, cell, factors, own) for own in of_seeds]
            epochs = [_epoch_row(cell, row) for own in of_seeds for row in own if "epoch" in row]
            made.write_rows(cell, info.roles, trials, epochs)
        return merge_studies([made.folder.path], into, storage)


def _known(rows: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows without what is missing."""
    for row in rows.to_dict("records"):
        yield {str(name): value for name, value in row.items() if pd.notna(value)}


def _epoch_row(cell: TrainingSettings, row: Row) -> Row:
    return {**row, "cell_id": cell.cell_id, "trial_id": cell.trial_id(row["seed"])}


def _trial_row(info: StudyInfo, cell: TrainingSettings, factors: Mapping[str, Any], own: Sequence[Row]) -> Row:
    """Return the row of ``trials`` of a training by its rows; what is not known of it is null."""
    last = own[-1]
    row: Row = {"study": info.study, "cell_id": cell.cell_id, "trial_id": cell.trial_id(last["seed"])}
    row |= {"model": cell.model, **factors, "seed": last["seed"], "status": last["status"], "error": last.get("error")}
    if "epoch" in last:
        row["epochs"] = len(own)
    if last["status"] == "failed":
        return row
    # Figures of the last epoch; without epochs nothing is known of a best one.
    row = {**last, **row}
    objective = info.goal.column("val")
    judged = [each for each in own if "epoch" in each and objective in each]
    if judged:
        best = max(judged, key=lambda each: info.goal.sign * float(each[objective]))
        row["best_epoch"] = best["epoch"]
        row |= {f"best_{name}": value for name, value in best.items() if name.startswith(("val_", "test_"))}
    return row
