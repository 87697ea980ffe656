import pickle

from study.driver.stopper import RunStopper
from study.store.files import StoreError


def test_a_run_ends_when_its_study_is_taken_and_the_first_error_counts():
    errors = []

    def check():
        if errors:
            raise errors[0]

    stopper = RunStopper(check)
    assert not stopper.stop_all()
    errors.append(StoreError("taken"))
    assert stopper.stop_all()
    stopper.note(StoreError("later"))
    assert str(stopper.error) == "taken"
    assert not stopper("trial", {})  # it ends all of them, or none


def test_tune_may_pickle_it_with_what_it_holds():
    lock = open  # a function of the run that holds what cannot be pickled
    stopper = RunStopper(lambda: lock)
    assert isinstance(pickle.loads(pickle.dumps(stopper)), RunStopper)
