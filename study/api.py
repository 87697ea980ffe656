"""The public Python API: run a study, find the studies of a storage, and read what one shows as data frames.

    import study
    smoke = study.run("smoke")        # what `study run --grid smoke` does; what is there is not trained again
    smoke = study.load("smoke")       # the same later, from any machine that sees the storage
    smoke.means()

Accuracies and their differences are fractions in [0, 1]. What a user can mend raises one of the errors with which the
commands end in one line: AnalysisError, GridError, StoreError, LaunchError, ModelError or DataError.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.load import StudyData, every_cell, latest_study, load_study
from analysis.stored import AnalysisError
from study.store.status import count_trials

if TYPE_CHECKING:  # matplotlib and scipy take seconds to import; trials and epochs need none of them
    from matplotlib.figure import Figure

    from analysis.output.page import Page
    from analysis.output.sheet import Sheet

STORAGE = "studies"


@dataclass(frozen=True)
class Study:
    """A study with its results, as they were when it was loaded.

    ``data`` is what the analysis reads; ``related`` are studies that belong to its report, such as its confirmation.
    """

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
        """The content of study.json: grid, roles, cells, seeds, protocol, contrasts, and the runs' provenance."""
        return self.data.info.as_dict()

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial: settings, ``seed``, ``status``, accuracies, times. Failed and pruned ones are among them."""
        return self.data.trials

    @property
    def epochs(self) -> pd.DataFrame:
        """A row a trial and epoch: the learning curves."""
        return self.data.epochs

    @cached_property
    def page(self) -> "Page":
        """The report as plain data: what ``study analyze`` writes."""
        from analysis.report import report_page

        return report_page(self.data, self.related)

    @cached_property
    def sheets(self) -> "dict[str, Sheet]":
        """Every table of the report by its name, with what people read of it, its caption and notes."""
        from analysis.report import sheets_of

        return sheets_of(self.page)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the report with its raw values; raise AnalysisError where the report has none of this name.

        A study has those tables that its grid and its finished trials allow; ``sheets`` has their names.
        """
        if name not in self.sheets:
            raise AnalysisError(f"no table {name!r} in study {self.name}: expected one of {', '.join(self.sheets)}")
        return pd.DataFrame(self.estimates()[name])

    def estimates(self) -> dict[str, list[Mapping[str, Any]]]:
        """Return the rows of every table by its name, as ``study analyze --json`` prints them."""
        from analysis.report import estimates_of

        return estimates_of(self.page)

    def table1(self) -> pd.DataFrame:
        """Return the six entries of Table I: the cell that validation chose for each, beside the report's numbers."""
        return self.table("table1")

    def means(self) -> pd.DataFrame:
        """Return a row a cell: ``state``, ``n`` seeds, and mean, spread and 95 % intervals of its test accuracy.

        A cell of which a seed is missing, pruned or failed has no mean, and its ``state`` says so.
        """
        return self.table("cells")

    def contrasts(self) -> pd.DataFrame:
        """Return the comparisons that the grid named in advance, paired by seed, with p values corrected by Holm.

        Raises AnalysisError where the grid names none.
        """
        return self.table("contrasts")

    def claims(self) -> pd.DataFrame:
        """Return the report's claims, what was measured, and the verdicts."""
        return self.table("claims")

    @property
    def figures(self) -> list[str]:
        """The names of the report's figures."""
        return [picture.name for section in self.page.sections for picture in section.pictures]

    def figure(self, name: str) -> "Figure":
        """Draw a figure of the report; raise AnalysisError where it has none of this name."""
        from analysis.output.page import draw_figure

        pictures = {picture.name: picture for section in self.page.sections for picture in section.pictures}
        if name not in pictures:
            raise AnalysisError(f"no figure {name!r} in study {self.name}: expected one of {', '.join(pictures)}")
        return draw_figure(pictures[name])

    def report(self, out: str | Path | None = None, formats: Iterable[str] | None = None) -> list[Path]:
        """Write the report and its files into a folder, by default reports/NAME; return their paths.

        ``formats`` are some of analysis.page.FORMATS, by default all. Raises AnalysisError.
        """
        from analysis.output.page import FORMATS, write_page

        folder = Path("reports", self.name) if out is None else Path(out)
        return write_page(self.page, folder, FORMATS if formats is None else list(formats))


def load(name: str | None = None, storage: str | Path = STORAGE, *, for_report: bool = False) -> Study:
    """Read a study, by default the one that ran last, from a folder or a URI such as ``s3://bucket/studies``.

    ``for_report`` leaves out the columns and the learning curves that no report shows: most of a large study.
    Raises AnalysisError for an unknown study, and for one without a finished trial.
    """
    from analysis.figures.curves import shown_cells
    from analysis.report import related_studies

    storage, curves_of = str(storage), shown_cells if for_report else every_cell
    data = load_study(storage, name or latest_study(storage), curves_of, for_report)
    return Study(data, related_studies(storage, data))


def list_studies(storage: str | Path = STORAGE) -> pd.DataFrame:
    """Return a row a study of a storage: its grid, and how many cells, seeds and trials of each kind it has.

    ``missing`` trials are planned and have no row; ``unreadable`` names damaged files. Raises StoreError.
    """
    columns = ("study", "grid", "cells", "seeds", "finished", "pruned", "failed", "missing", "unreadable")
    return pd.DataFrame(list(count_trials(str(storage))), columns=columns)


def run(grid: str | Path, *, quiet: bool = False, **options: Any) -> Study:
    """Train what the study does not have yet, and return it.

    ``options`` are those of ``study run``, by the names and with the defaults of study.plan.request.RunOptions:
    ``seeds=20``, ``cells_per_trial=4``, ``track=["mlflow"]``. ``quiet`` prints nothing.
    Cells that failed are rows of ``trials`` with the status ``failed``.

    Raises TypeError for an unknown option, and KeyboardInterrupt if the user interrupts the run: the same call
    continues it.
    """
    from rich.console import Console

    from study.driver.session import INTERRUPTED, run_study
    from study.plan.request import RunOptions
    from study.plan.resources import resources_for

    _refuse_unknown(options)
    asked = RunOptions(grid=str(grid), **options)
    resources, work = resources_for(asked), asked.resolve()
    console = Console(quiet=quiet, force_jupyter=False)  # a live table in a notebook would need ipywidgets
    if run_study(work, resources, console, "the same call") == INTERRUPTED:
        raise KeyboardInterrupt
    return load(work.store.study, work.store.storage)


def _refuse_unknown(options: Iterable[str]) -> None:
    """Raise TypeError for a name that is no option of a run."""
    from dataclasses import fields

    from study.plan.request import RunOptions
    from study.words import suggest

    known = sorted(each.name for each in fields(RunOptions))
    for name in options:
        if name not in known:
            raise TypeError(f"study.run() has no option {name!r}: {suggest(name, [*known, 'quiet'])}")
