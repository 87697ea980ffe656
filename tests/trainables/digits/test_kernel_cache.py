"""What numba compiles is kept; without a place for it, one line says so."""

import os
import subprocess
import sys

# numba asks these for a place, in this order; by default also the package's folder, which tests may write.
NOWHERE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": ""}
SCRIPT = """
from trainables.config import TrainableError
try:
    import trainables.digits.kernels.step
except TrainableError as error:
    print(error)
"""


def test_no_place_for_what_numba_compiles_is_one_line():
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=os.environ | NOWHERE, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("numba has no place for what it compiles (cannot cache function")
    assert done.stdout.endswith("; set NUMBA_CACHE_DIR to a folder that can be written\n")
