"""Why a Tune trial failed, in one line."""

import re
from pathlib import Path

from ray import cloudpickle
from ray.tune.experiment import Trial


def failure_reason(trial: Trial) -> str:
    """Put the last error of a Tune trial into one line; Tune leaves it in a local file."""
    if trial.pickled_error_file is None:
        return _last_error(Path(trial.error_file).read_text())
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    # The cause of a lost worker is a text, that of a task that raised is the exception.
    cause = getattr(error, "cause", None)
    told = cause if isinstance(cause, Exception) else error
    lines = str(told).strip().splitlines() or ["no message"]
    # The cell could not begin: Ray's own line says nothing, but a traceback follows.
    if "raised in its creation task" in lines[0]:
        return _last_error(str(told))
    return f"{type(told).__name__}: {lines[0]}"


def _last_error(text: str) -> str:
    """Return the line with the last error, without its module, of tracebacks and explanations as Ray writes them."""
    # Tune heads each try so.
    last = re.split(r"^Failure # \d+.*\n", text.strip(), flags=re.MULTILINE)[-1]
    errors = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception): .*)", last, re.MULTILINE)
    return str(errors[-1] if errors else last.splitlines()[0])
