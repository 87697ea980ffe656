"""How the tests start the program ``study`` in a process of its own."""

import os
import sys
from pathlib import Path

STUDY = str(Path(sys.executable).with_name("study"))


def clean(**more):
    """The environment without what would steer the commands."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STUDY_", "RAY_", "COV"))}
    return {name: value for name, value in kept.items() if name not in ("NO_COLOR", "FORCE_COLOR")} | more
