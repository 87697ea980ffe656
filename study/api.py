"""The public Python API: run a study, list studies, and read results as data frames.

    import study
    smoke = study.run("smoke")        # as `study run --grid smoke`; what is there is not trained again
    smoke = study.load("smoke")       # the same later, from any machine that sees the storage
    smoke.means()
    study.import_runs("runs.csv", "mine", factors="lr,norm", seed="seed", metrics=["test_acc"])

Metrics are as the store has them: what tables show in percent is a fraction in [0, 1]. An
error that the user can mend has a message of one line, and is a study.errors.StudyError, an
analysis.stored.AnalysisError or a trainables.config.TrainableError.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.load import StudyData, every_cell, latest_study, load_study
from analysis.stored import COUNTED, AnalysisError
from study.plan.run_options import RunOptions
from study.store.status import count_trials
from study.store.store import locate
from study.words import suggest

if TYPE_CHECKING:  # matplotlib and scipy take seconds to import; data frames need neither
    from matplotlib.figure import Figure

    from analysis.output.page import Page, Picture
    from analysis.output.sheet import Sheet


@dataclass(frozen=True)
class Study:
    """A study as it was loaded, with ``related`` ones for its report."""

    data: StudyData
    related: Mapping[str, StudyData]

    def __repr__(self) -> str:
        return f"<study {self.name}: {len(self.data.info.cells)} cells, {len(self.trials)} trials>"

    @property
    def name(self) -> str:
        """The study's name."""
        return self.data.name

    @property
    def info(self) -> dict[str, Any]:
        """The content of study.json, such as grid, roles, cells, seeds and runs."""
        return self.data.info.as_dict()

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: settings, ``seed``, ``status``, metrics, times."""
        return self.data.trials

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per trial and epoch: the learning curves."""
        return self.data.epochs

    @cached_property
    def page(self) -> "Page":
        """The report as plain data, as ``study analyze`` writes it."""
        from analysis.report import report_page

        return report_page(self.data, self.related)

    @cached_property
    def sheets(self) -> "dict[str, Sheet]":
        """Every table of the report by its name, as people read it, with caption and notes."""
        from analysis.report import sheets_of

        return sheets_of(self.page)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the report with its raw values; raise AnalysisError if there is none.

        ``sheets`` has the names; "table1" and "claims" are those of the course report.
        """
        if name not in self.sheets:
            raise AnalysisError(f"no table {name!r} in study {self.name}: expected one of {', '.join(self.sheets)}")
        return pd.DataFrame(self.estimates()[name])

    def estimates(self) -> dict[str, list[Mapping[str, Any]]]:
        """Return the rows of every table by its name, as ``study analyze --json`` does."""
        from analysis.report import estimates_of

        return estimates_of(self.page)

    def means(self) -> pd.DataFrame:
        """Return one row per cell: ``state``, ``n`` seeds; if complete, mean, spread, 95 % intervals."""
        return self.table("cells")

    def contrasts(self) -> pd.DataFrame:
        """Return the grid's contrasts, paired by seed, p values corrected by Holm; raise AnalysisError if none."""
        return self.table("contrasts")

    @property
    def figures(self) -> list[str]:
        """The names of the report's figures."""
        return list(self._pictures())

    def figure(self, name: str) -> "Figure":
        """Draw a figure of the report; raise AnalysisError if there is none of this name."""
        from analysis.output.page import draw_figure

        pictures = self._pictures()
        if name not in pictures:
            raise AnalysisError(f"no figure {name!r} in study {self.name}: expected one of {', '.join(pictures)}")
        return draw_figure(pictures[name])

    def _pictures(self) -> "dict[str, Picture]":
        return {picture.name: picture for section in self.page.sections for picture in section.pictures}

    def report(self, out: str | Path | None = None, formats: Iterable[str] | None = None) -> list[Path]:
        """Write the report (default: reports/NAME, all analysis.output.page.FORMATS); return its paths."""
        from analysis.output.page import FORMATS, write_page

        folder = Path("reports", self.name) if out is None else Path(out)
        return write_page(self.page, folder, FORMATS if formats is None else list(formats))


def load(name: str | None = None, storage: str | Path = RunOptions.storage, *, for_report: bool = False) -> Study:
    """Read a study, by default the one that ran last, from a folder or URI (``s3://bucket/dir``).

    ``for_report`` leaves out what no report shows: most of the epochs of a large study.
    Raises AnalysisError for an unknown study, and for one without a finished trial.
    """
    from analysis.figures.curves import shown_cells
    from analysis.report import related_studies

    storage = str(storage)
    curves_of = shown_cells if for_report else every_cell
    data = load_study(storage, name or latest_study(storage), curves_of, for_report)
    return Study(data, related_studies(storage, data))


def list_studies(storage: str | Path = RunOptions.storage) -> pd.DataFrame:
    """Return one row per study in a storage: its grid, and numbers of cells, seeds and trials.

    ``missing`` trials are planned but have no row; ``unreadable`` says by a file's name why it
    is left out. Raises StoreError.
    """
    columns = ("study", "grid", "cells", "seeds", *COUNTED, "missing", "unreadable")
    return pd.DataFrame(list(count_trials(str(storage))), columns=columns)


def import_runs(
    file: str | Path,
    into: str,
    *,
    contrasts: Iterable[str] = (),
    grid: str | Path | None = None,
    storage: str | Path = RunOptions.storage,
    **columns: Any,
) -> Study:
    """Make a study of a table of trainings that were made elsewhere, or add them to one; return the study.

    ``columns`` are the fields of study.imports.runs_table.RunsTable: factors, metrics, seed, epoch, status.
    The rest is as for ``study import``. Raises TableError, GridError or StoreError; then nothing has changed.
    """
    from study.imports.imported_study import import_table
    from study.imports.runs_table import RunsTable

    import_table(RunsTable(file=str(file), **columns), into, str(storage), list(contrasts), grid)
    store = locate(into, str(storage))
    return load(store.study, store.storage)


def run(grid: str | Path, *, quiet: bool = False, **options: Any) -> Study:
    """Train what the study does not have yet; return the study, with ``failed`` trials if any.

    ``options`` are those of ``study run``, such as ``seeds=20`` or ``track=["mlflow"]``, with the
    defaults of study.plan.run_options.RunOptions. ``quiet`` prints nothing. Raises TypeError for an
    unknown option, and KeyboardInterrupt if the user interrupts: the same call continues the run.
    """

    from study.console import PlainConsole
    from study.driver.session import INTERRUPTED, run_study
    from study.plan.resources import resources_for

    # Checked here, as the constructor of a dataclass would not name the nearest option.
    known = sorted(each.name for each in fields(RunOptions))
    for name in options:
        if name not in known:
            raise TypeError(f"study.run() has no option {name!r}: {suggest(name, [*known, 'quiet'])}")
    asked = RunOptions(grid=str(grid), **options)
    resources = resources_for(asked)
    work = asked.resolve()
    if run_study(work, resources, PlainConsole(quiet=quiet), "the same call") == INTERRUPTED:
        raise KeyboardInterrupt
    return load(work.store.study, work.store.storage)
