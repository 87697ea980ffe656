from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayTaskError

from study.driver.failure_reason import failure_reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RayTaskError("train", "trace\nback", ValueError("bad\nvalue")).as_instanceof_cause(), "ValueError: bad"),
        (ActorDiedError(), "ActorDiedError: The actor died unexpectedly before finishing this task."),
    ],
)
def test_the_reason_of_a_failure_is_one_line(tmp_path, error, reason):
    path = tmp_path / "error.pkl"
    path.write_bytes(cloudpickle.dumps(error))
    assert failure_reason(SimpleNamespace(pickled_error_file=str(path))) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Failure # 1\nTuneError: first\nFailure # 2\nTuneError: second\n", "TuneError: second"),
        (
            "Traceback\nray.exceptions.OutOfMemoryError: 1 worker killed\nRefer to: the docs",
            "OutOfMemoryError: 1 worker killed",
        ),
        (
            "Failure # 1 (at noon)\nold\nFailure # 2 (later)\n1 worker(s) killed\nRefer to: the docs",
            "1 worker(s) killed",
        ),
    ],
)
def test_the_reason_of_a_failure_without_an_exception_is_its_last_error(tmp_path, text, reason):
    path = tmp_path / "error.txt"
    path.write_text(text)
    assert failure_reason(SimpleNamespace(pickled_error_file=None, error_file=str(path))) == reason
