"""Why a Tune trial failed, in one line."""

import re
from pathlib import Path

from ray import cloudpickle
from ray.tune.experiment import Trial


def _reason(trial: Trial) -> str:
    """Put what a Tune trial last died of into one line; Tune leaves it in a file of this machine."""
    if trial.pickled_error_file is None:
        return _last_error(Path(trial.error_file).read_text())
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    cause = getattr(error, "cause", None)  # of a lost worker, a text; of a task that raised, the exception
    shown = cause if isinstance(cause, Exception) else error
    lines = str(shown).strip().splitlines() or ["no message"]
    if "raised in its creation task" in lines[0]:  # the cell could not begin; a traceback of the worker follows
        return _last_error(str(shown))
    return f"{type(shown).__name__}: {lines[0]}"


def _last_error(text: str) -> str:
    """Return the line that names the last error, less its module, of tracebacks and explanations as Ray writes them."""
    last = re.split(r"^Failure # \d+.*\n", text.strip(), flags=re.MULTILINE)[-1]  # Tune heads each try so
    errors = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception): .*)", last, re.MULTILINE)
    return str(errors[-1] if errors else last.splitlines()[0])
