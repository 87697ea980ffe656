"""Run grids of trainings and keep the results: ``study.run``, ``study.load``, ``study.list_studies``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.api import Study, list_studies, load, run

__all__ = ["Study", "list_studies", "load", "run"]


def __getattr__(name: str) -> object:
    """Import the public functions when they are first used: pandas takes a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from study import api

    return getattr(api, name)
