"""Which machine Ray's autoscaler starts for waiting cells; `cluster.yaml` names `score` to it.

Ray's own score is how well cells would fill a type, so it always takes a smaller type first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Amounts = Mapping[str, float]  # by resource
SPOT = "spot"  # its name in cluster.yaml; all other types stand in for it


def score(
    machine: Amounts, demands: Iterable[Amounts], kind: str, *, node_availability_summary: Any
) -> tuple[bool, bool] | None:
    """Return the rank of a type of machine, greater first, or None if it must not be started.

    Ray's NodeAvailabilitySummary keeps the cloud's last answer for each type for half an hour.
    """
    fits = any(_fits(demand, machine) for demand in demands)
    answers = node_availability_summary.node_availabilities
    refused = {name for name, last in answers.items() if not last.is_available}
    # While spot is refused, another type is started, and before spot is tried again.
    if not fits or (kind != SPOT and SPOT not in refused):
        return None
    return kind not in refused, kind == SPOT


def _fits(demand: Amounts, machine: Amounts) -> bool:
    return all(amount <= machine.get(name, 0) for name, amount in demand.items())
