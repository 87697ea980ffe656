"""Run grids of trainings and keep the results: ``study.run``, ``load``, ``list_studies``, ``import_runs``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.api import Study, import_runs, list_studies, load, run

__all__ = ["Study", "import_runs", "list_studies", "load", "run"]


def __getattr__(name: str) -> object:
    """Import the public functions when they are first used: pandas takes a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from study import api

    return getattr(api, name)
