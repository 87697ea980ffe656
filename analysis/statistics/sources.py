"""Where the numbers of a study come from, and which cells and files they leave out."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import pandas as pd

from analysis.load import StudyData
from analysis.statistics.cells import describe_settings, describe_state, summarise_cells
from analysis.statistics.collapse import collapse_in_words
from analysis.stored import MADE_BY, StudyInfo

NOT_RECORDED = "not recorded"
MADE_ON = (*MADE_BY, "device")
NAMED = 50  # cells that the warnings name; others are counted


def warnings_of(data: StudyData) -> Iterable[str]:
    """Name the cells that are not complete, the seeds that collapsed, and the files that cannot be read."""
    cells = summarise_cells(data)
    incomplete = cells[cells["state"] != "complete"]
    for cell in incomplete.head(NAMED).to_dict("records"):
        settings = describe_settings(cell, data.info.roles)
        # A worker that died without a word leaves no error.
        error = f" ({cell['error']})" if cell["state"] == "failed" and isinstance(cell["error"], str) else ""
        yield f"Not complete, so left out of all means: {settings}: {describe_state(cell)}{error}"
    if rest := incomplete["state"].iloc[NAMED:].value_counts().to_dict():
        counts = ", ".join(f"{count} {state}" for state, count in rest.items())
        yield f"Also not complete: {counts}. The CSV file of all cells names them."
    yield from collapse_in_words(data)
    yield from mixed_code(data.info, data.trials)
    for run in data.info.runs:
        if "same_code" in run:
            yield f"The run of {run.get('started_at')} went on with other code, since: {run['same_code']}"
    for file, problem in data.unreadable.items():
        yield f"{file} {problem}, so it is left out. Run the study again to restore it."
    for trial_id in data.twice[:NAMED]:
        yield f"Trial {trial_id} is stored twice, with different figures: those of the first file by name are used."
    if (more := len(data.twice) - NAMED) > 0:
        yield f"{more} more trials are stored twice, with different figures."


def mixed_code(info: StudyInfo, trials: pd.DataFrame) -> Iterator[str]:
    """Say of each model whose trials were made by several codes, or a cell's on several data, how many are of each."""
    models = {cell["cell_id"]: cell["model"] for cell in info.cells}
    if trials.empty:  # and perhaps without columns
        return
    counted = trials[trials["status"] != "failed"]
    made = _recorded(counted, "cell_id", *MADE_ON)
    for model, rows in made.groupby(made["cell_id"].map(models)):
        data = rows[rows["data_sha256"] != NOT_RECORDED].groupby("cell_id")["data_sha256"].nunique()
        if rows["code_id"].nunique() > 1 or (data > 1).any():
            yield f"Trials of {model} were made by different code or data, and count together: {_made_by(rows)}."


def _made_by(trials: pd.DataFrame) -> str:
    """Count trials by the code, data, PyTorch and device that made them."""
    found = []
    for group in (
        _recorded(trials, *MADE_ON)
        .groupby(list(MADE_ON), sort=False)
        .size()
        .reset_index(name="count")
        .to_dict("records")
    ):
        code, data, torch, device = (group[column] for column in MADE_ON)
        found.append(f"{group['count']} by code {code}, data {data[:12]}, torch {torch}, on {device}")
    return "; ".join(found)


def _recorded(trials: pd.DataFrame, *columns: str) -> pd.DataFrame:
    found = trials.reindex(columns=list(columns)).astype(object)
    return found.where(found.notna(), NOT_RECORDED)


def facts_of(data: StudyData) -> Iterable[tuple[str, str]]:
    """Name grid, trials, times and protocol, and the code and machine of the last run."""
    cells = summarise_cells(data)["cell_id"]
    seeds = data.info.seeds
    # Cells and seeds that were planned once and no longer are stay in the store.
    trials = data.trials[data.trials["cell_id"].isin(cells) & data.trials["seed"].isin(seeds)]
    yield "grid", f"{data.info.grid}, {len(cells)} cells with {len(seeds)} seeds each"
    counts = trials["status"].value_counts().to_dict() | {"not run": data.info.planned - len(trials)}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    yield "trials", f"{counted}; {data.info.planned} planned"
    yield "made", _made_by(trials)
    if "train_time_s" in trials and trials["train_time_s"].notna().any():
        yield "training time", f"{_duration(trials['train_time_s'].sum())}, summed over the trials"
    if "started_at" in trials and trials["started_at"].notna().any():
        span = trials["finished_at"].max() - trials["started_at"].min()
        yield "wall time", f"{_duration(span.total_seconds())}, from the first start to the last end"
    for setting, value in data.info.protocol.items():
        yield setting.replace("_", " "), str(value)
    for run in data.info.runs[-1:]:
        for fact, value in run.items():
            # Packages are versions by name.
            if isinstance(value, dict):
                value = ", ".join(f"{name} {version}" for name, version in value.items())
            yield f"last run, {fact.replace('_', ' ')}", str(value)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
