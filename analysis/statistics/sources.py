"""Where the numbers of a study come from, and which cells and files they leave out."""

from collections.abc import Iterable
from datetime import timedelta

from analysis.load import StudyData
from analysis.statistics.cells import describe_settings, describe_state, summarise_cells
from analysis.statistics.collapse import collapse_in_words

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
    for file, problem in data.unreadable.items():
        yield f"{file} {problem}, so it is left out. Run the study again to restore it."


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
