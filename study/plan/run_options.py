"""Each option once, as a field of which commands and API are made; and the work asked for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from study.errors import StudyError
from study.grid import MAX_SEEDS, MOST_TRIALS

if TYPE_CHECKING:  # `study --help` reads the options; what a run needs takes seconds to import
    from analysis.stored import StudyInfo
    from study.grid.grid import Grid
    from study.plan.next_cell import CellSearch
    from study.store.store import Store
    from trainables.config import TrainingSettings


MOST_OF_A_NODE = 100_000  # no machine has as many cores or GPUs, costs as much, or is one of as many


class LaunchError(StudyError):
    """A run that cannot start: the message names the value, what was expected and the fix."""


def option(
    default: Any,
    help: str,
    expected: str = "",  # what is_valid accepts
    is_valid: Callable[[Any], bool] = lambda value: True,
    allowed: tuple[str, ...] = (),
    variable_in_help: bool = False,  # that of the environment
) -> Any:
    """Return the field of an option, which is required if its default is MISSING."""
    if allowed:
        expected, is_valid = f"one of {', '.join(allowed)}", allowed.__contains__
    rules = {"help": help, "expected": expected, "is_valid": is_valid, "allowed": allowed}
    return field(default=default, metadata={**rules, "variable_in_help": variable_in_help})


def between(least: float, most: float) -> Callable[[Any], bool]:
    """Return what tells whether a value is a number from ``least`` to ``most``."""
    return lambda value: isinstance(value, Real) and least <= float(value) <= most


def _is_gpus(value: Any) -> bool:
    return between(0, 1)(value) or (between(1, MOST_OF_A_NODE)(value) and float(value).is_integer())


def flag_of(name: str) -> str:
    """Return how an option is written on the command line."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How trials are trained: with what data files, on what machines, and if one dies."""

    data_dir: str | None = option(
        None,
        "Folder with the data files. Without it, data that do not come with the package are downloaded.",
        variable_in_help=True,
    )
    cpus_per_trial: float = option(
        1,
        "CPU cores, and as many threads, for each stack of cells.",
        f"at least 1, a core for each cell, and at most {MOST_OF_A_NODE:,}",
        between(1, MOST_OF_A_NODE),
        variable_in_help=True,
    )
    gpus_per_trial: float | None = option(
        None,
        "GPUs for each stack of cells; fractions are allowed. "
        "By default 1 if there is a GPU, or 0.25 if each cell trains by itself.",
        f"0, a fraction below 1, or a whole number of GPUs up to {MOST_OF_A_NODE:,}",
        _is_gpus,
        variable_in_help=True,
    )
    cpus_per_seed: float | None = option(
        None,
        "CPU cores for each seed of a model that is a function. Each seed then trains in its own process, at the "
        "same time as the others, instead of taking turns with them.",
        f"1 to {MOST_OF_A_NODE:,}",
        between(1, MOST_OF_A_NODE),
    )
    gpus_per_seed: float | None = option(
        None,
        "GPUs for each seed of a model that is a function. Each seed then trains in its own process.",
        f"a fraction below 1, or a whole number of GPUs up to {MOST_OF_A_NODE:,}",
        lambda value: value != 0 and _is_gpus(value),
    )
    cells_per_trial: str = option(
        "auto",
        "How many cells train together in one stack: a number, or 'auto' (1 on CPUs, as many as fit well on GPUs).",
        "auto, or 1 to 99,999 cells to train as one stack",
        lambda value: re.fullmatch(r"auto|0*[1-9][0-9]{0,4}", value) is not None,
    )
    address: str | None = option(
        None,
        "Address of the Ray cluster to join, for example 'auto'. "
        "By default the value of RAY_ADDRESS; without either, Ray starts on this machine.",
    )
    retries: int = option(
        3,
        "How many times a stack of cells that died is continued from its last checkpoint.",
        "0 to 1,000",
        between(0, 1000),
    )
    same_code: str | None = option(
        None,
        "Go on although code or data have changed since rows of the study were trained. Say why old and new rows "
        "compare; the reason is recorded.",
        "a reason in words",
        lambda value: bool(value.strip()),
    )
    epoch_limit: float = option(
        600,
        "The longest time, in seconds, that one epoch of a stack may take.",
        "seconds, more than 0 and at most 10,000,000",
        lambda value: value != 0 and between(0, 10_000_000)(value),
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            # Python code may give a Path, a number or a list: keep what the command line gives.
            if each.type == tuple[str, ...]:
                value = tuple(map(str, value))
            elif each.type in (str, str | None) and value is not None:
                value = str(value)
            object.__setattr__(self, each.name, value)
            for given in value if isinstance(value, tuple) else (value,):
                if given is not None and not each.metadata["is_valid"](given):
                    written = f"{given:g}" if isinstance(given, float) else given
                    raise LaunchError(f"{flag_of(each.name)} {written}: expected {each.metadata['expected']}")


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainingOptions):
    """What a run is to train, and how; None stands for the grid's own choice."""

    grid: str = option(MISSING, "The grid: the name of a shipped one (see: study grids), or the path of a .yaml file.")
    name: str | None = option(
        None,
        "Name of the study. By default the grid's name, followed by the data source if it is not the usual one.",
    )
    storage: str = option(
        "studies",
        "Where studies are kept: a folder, or a URI such as s3://bucket/studies.",
        variable_in_help=True,
    )
    seeds: int | None = option(
        None,
        "How many seeds each cell gets; by default what the grid says.",
        f"1 to {MAX_SEEDS:,}",
        lambda value: between(1, MAX_SEEDS)(value) and value == int(value),
    )
    until_decided: bool = option(
        False,
        "Add seeds until the contrasts are decided, only to the cells of those that are not, at the looks that the "
        "grid names (replicate).",
    )
    scheduler: str | None = option(
        None,
        "Whether weak cells are stopped early; by default what the grid says.",
        allowed=("asha", "none"),
    )
    data: str | None = option(None, "Data source, for models that have several; by default what the grid says.")
    track: tuple[str, ...] = option(
        (),
        "Also log the cells into ./tracking/NAME for this viewer; may be given more than once.",
        allowed=("tensorboard", "mlflow", "wandb"),
    )

    def resolve(self) -> "Work":
        """Return the work; raise GridError, or StoreError for a storage or study that does not fit."""
        from study.grid.load import load_grid
        from study.store.store import Store

        grid = load_grid(self.grid)
        if self.until_decided and grid.replicate is None:
            fix = "add replicate: {looks: [10, 20, 40, 80], margin: ...} to it"
            raise LaunchError(f"--until-decided: the grid {grid.name} does not say when contrasts are decided; {fix}")
        if self.until_decided and self.seeds is not None:
            raise LaunchError(f"--seeds {self.seeds}: with --until-decided the grid names the seeds; leave out one")
        cells = grid.cells(self.data)
        # A study is named before it is read: a search's cells depend on what it has already.
        return self._join(grid, cells, Store(self.storage, self.name or grid.name + cells[0].study_suffix))

    def _join(self, grid: "Grid", asked: "Sequence[TrainingSettings]", store: "Store") -> "Work":
        """Return the work of the cells that are asked for and of those that the study has now."""
        from study.plan.jobs import study_info
        from study.store.study_json import check_trained

        cells, earlier = asked, store.read_info()
        check_trained(earlier)
        if grid.search:
            from study.plan.next_cell import searched_cells

            cells = searched_cells(grid, asked, earlier)
        seeds: Sequence[int] = range(self.seeds or grid.seeds)
        scheduler = self.scheduler or grid.stopping.scheduler
        info = study_info(store.study, grid, cells, seeds, earlier)
        if earlier is not None and earlier.objective != info.objective:
            _check_not_pruned(store, earlier, info)
        # An earlier run may have begun with seeds of a further look.
        seeds = info.seeds if self.until_decided else seeds
        again = partial(self._join, grid, asked, store)
        return Work(grid, cells, seeds, scheduler, store, info, again, self.track, self.until_decided)


def _check_not_pruned(store: "Store", earlier: "StudyInfo", now: "StudyInfo") -> None:
    """Raise StoreError if cells were stopped by an objective that is no longer the study's."""
    from study.store.files import StoreError

    if any(row["status"] == "pruned" for row in store.read_trials("status")[0]):
        # What another metric has stopped is missing by this one: the survivors would be a biased choice.
        raise StoreError(
            f"cells of {store.study} were stopped early by {earlier.objective}, so they cannot be chosen by "
            f"{now.objective}; train them first (--scheduler none, with objective: {earlier.objective}), or give "
            "the new study another --name"
        )


@dataclass(frozen=True)
class Work:
    """What a run is to leave in the store: all seeds of all cells, and study.json (``info``).

    ``again`` reads the study again, and returns the work with what others have added to it since.
    ``until_decided`` tells whether it goes on with the looks after that.
    """

    grid: "Grid"
    cells: "Sequence[TrainingSettings]"
    seeds: Sequence[int]
    scheduler: str
    store: "Store"
    info: "StudyInfo"
    again: "Callable[[], Work]"
    trackers: tuple[str, ...] = ()
    until_decided: bool = False

    def seeds_of(self, cell: "TrainingSettings") -> list[int]:
        """Return the seeds of a cell: those of all cells, and those that its contrasts need."""
        further = self.info.further_seeds.get(cell.cell_id, ())
        return [*self.seeds, *(seed for seed in further if seed not in self.seeds)]

    def __post_init__(self) -> None:
        if (trials := len(self.cells) * len(self.seeds)) > MOST_TRIALS:
            size = f"{len(self.cells):,} cells x {len(self.seeds):,} seeds are {trials:,} trials"
            raise LaunchError(f"{size}, and a run has at most {MOST_TRIALS:,}; ask for fewer --seeds")

    @property
    def outermost_cells(self) -> "list[TrainingSettings]":
        """The cells at the ends of a search's ranges: if these can be trained, so can the others."""
        return self.grid.ends(getattr(self.cells[0], "data", None))

    def search(self, rows: "Sequence[dict[str, Any]]") -> "CellSearch | None":
        """Return the search as it is after the study's rows, or None if the grid has none."""
        if self.grid.search is None:
            return None
        from study.plan.next_cell import CellSearch

        return CellSearch(self.grid, self.seeds, self.cells, rows)
