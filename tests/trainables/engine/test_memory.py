import platform
import subprocess
import sys
from pathlib import Path

import pytest

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PAGES_MAY_BE_LARGE = HUGE_PAGES.is_file() and "[always]" in HUGE_PAGES.read_text()
# Takes and frees 64 MiB fifty times, and prints how many times that much memory the system had to provide.
PROGRAM = """
import resource, sys, torch
from trainables.engine.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    torch.ones(2**24)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 2**26)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc than glibc's")
def test_freed_memory_is_used_again_instead_of_mapped_anew():
    def times_mapped(how):
        command = [sys.executable, "-c", PROGRAM, how]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # The heap grows at first, wherever a small block has come to lie behind a large one.
    assert times_mapped("keep") < 12
    if not PAGES_MAY_BE_LARGE:  # else one fault provides many pages
        assert times_mapped("default") >= 50
