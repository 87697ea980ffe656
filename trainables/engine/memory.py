"""How the process holds memory that tensors have freed."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names and values of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory for the next tensors; return whether it agreed."""
    # By default a block above 32 MiB is mapped from the system, zeroed page by page, and
    # returned at once. A stack's activations are such blocks, again at every step.
    if platform.libc_ver()[0] != "glibc":
        return False
    # No block is mapped, and up to 2 GiB of freed memory at the end of the heap stay there.
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
