"""Ends a run whose storage fails, or whose study another driver has taken."""

from collections.abc import Callable
from typing import Any

from ray import tune

from study.store.files import StoreError


class RunStopper(tune.Stopper):
    """Ends all Tune trials after a StoreError; ``error`` is the first one.

    What a callback raises, Tune buries in an error of its own. So whoever meets a StoreError notes it
    here, and the caller of Tune raises it. ``check`` raises one if the driver has lost the study.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self.error: StoreError | None = None

    def note(self, error: StoreError) -> None:
        """End the run; of several errors the first counts."""
        self.error = self.error or error

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """End no single pack: the scheduler does."""
        return False

    def stop_all(self) -> bool:
        """Tell Tune, which asks in each of its steps, whether the run has to end."""
        try:
            self._check()
        except StoreError as error:
            self.note(error)
        return self.error is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its stopper to resume; a run resumes from the store
