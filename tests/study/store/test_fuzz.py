"""A short fuzz; docs/LOG.md has the counts of a long one."""

import pytest

from tests.study.store.fuzz import damaged_stores, flips


@pytest.mark.parametrize(("fuzz", "count"), [(flips, 40), (damaged_stores, 15)])
def test_damage_is_named_or_changes_nothing(fuzz, count):
    outcomes = fuzz(count, seed=1)
    assert sum(outcomes.values()) == count
    assert outcomes.keys() <= {"same", "named", "refused"}
    assert outcomes["named"]
