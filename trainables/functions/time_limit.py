"""The longest time that an epoch may take."""

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A signal's handler waits for native code to return, so the process gets this long.
GRACE_S = 10.0


@contextmanager
def time_limit(seconds: float, epoch: int) -> Iterator[None]:
    """Raise TimeoutError in what runs longer; end the process if no signal reaches it."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"epoch {epoch} took longer than {seconds:g} s, the epoch limit")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    # By its number, since what stands for standard error in a notebook is no file.
    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True, file=2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
