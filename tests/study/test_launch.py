from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayTaskError

from study.launch import _reason


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
    assert _reason(SimpleNamespace(pickled_error_file=str(path))) == reason


def test_the_reason_of_a_failure_without_an_exception_is_the_last_line_of_its_text(tmp_path):
    path = tmp_path / "error.txt"
    path.write_text("Failure # 1\nTuneError: first\nFailure # 2\nTuneError: second\n")
    assert _reason(SimpleNamespace(pickled_error_file=None, error_file=str(path))) == "TuneError: second"
