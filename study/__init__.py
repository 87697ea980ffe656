"""What to run, where, and what is kept. For notebooks: ``study.run``, ``study.load`` and ``study.list_studies``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.api import Study, list_studies, load, run

__all__ = ["Study", "list_studies", "load", "run"]


def __getattr__(name: str) -> object:
    """Import the public functions when they are first used: pandas and matplotlib take a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from study import api

    return getattr(api, name)
