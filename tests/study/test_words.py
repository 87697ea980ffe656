import pytest

from study.words import describe_settings, format_counts, format_duration, format_value, suggest


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("droput", "did you mean dropout?"),
        ("mine.yml", "did you mean mine.yaml?"),
        ("x", "expected one of dropout, sharing"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest_or_with_all_known_ones(word, hint):
    assert suggest(word, ["dropout", "sharing"], others=["mine.yaml"]) == hint


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3601, "60 min 01 s")]
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_values_are_written_as_grid_files_write_them():
    values = (False, True, 0.1, 1000.0, 3, "mnist")
    assert [format_value(value) for value in values] == ["off", "on", "0.1", "1000", "3", "mnist"]


def test_settings_are_written_in_their_order():
    assert describe_settings({"sharing": True, "dropout": 0.5}) == "sharing on, dropout 0.5"


def test_counts_leave_out_what_there_is_none_of():
    assert format_counts({"finished": 2, "pruned": 0, "failed": 1}) == "2 finished, 1 failed"
