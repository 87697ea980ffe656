import contextlib
import subprocess

import pytest

from tests.study.driver.test_runs import STUDY, environment


@pytest.fixture
def start():
    """Start runs in process groups of their own, as a shell does; what still runs at the end is killed."""
    with contextlib.ExitStack() as stack:

        def launch(*arguments, address=None):
            process = subprocess.Popen(
                [STUDY, *map(str, arguments)],
                env=environment(address),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield launch
