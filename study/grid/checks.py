"""What must fit together in a grid file, beyond the type of each value."""

from collections.abc import Iterable

from study.grid.yaml_text import PlacedError
from study.words import meant


def _check_names(names: Iterable[str], known: Iterable[str], *at: str | int) -> None:
    for name in names:
        if name not in known:
            raise PlacedError(f"not a factor of this grid; {meant(name, known)}", *at, name)
