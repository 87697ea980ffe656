from analysis.course_report.reported import AUX_WEIGHT_CURVES, TABLE1, Reported


def test_table_1_is_the_reports():
    assert TABLE1["auxiliary off", False] == Reported(mean=80.7, std=1.1, n=10)
    assert TABLE1["auxiliary on + dropout", True] == Reported(mean=91.2, std=1.1, n=10)
    assert [(entry.mean, entry.std) for entry in TABLE1.values()] == [
        (80.7, 1.1),
        (83.9, 0.6),
        (85.1, 1.8),
        (86.0, 1.5),
        (89.2, 1.0),
        (91.2, 1.1),
    ]
    assert {sharing for _, sharing in TABLE1} == {False, True}


def test_table_1_holds_the_gains_that_the_text_claims():
    without = TABLE1["auxiliary off", False].mean
    assert round(TABLE1["auxiliary off", True].mean - without, 1) == 3.2
    assert round(TABLE1["auxiliary on", False].mean - without, 1) == 4.4
    assert round(TABLE1["auxiliary on", True].mean - without, 1) == 5.3


def test_both_figures_have_the_reports_weights_and_peaks():
    weights = [0, 0.1, 0.5, 1, 3, 10, 100, 1000]
    assert [list(AUX_WEIGHT_CURVES[sharing]) for sharing in (False, True)] == [weights, weights]
    assert max(AUX_WEIGHT_CURVES[False].items(), key=lambda point: point[1]) == (3, 0.857)
    assert max(AUX_WEIGHT_CURVES[True].items(), key=lambda point: point[1]) == (10, 0.862)
    assert AUX_WEIGHT_CURVES[False][0] == 0.810
    assert AUX_WEIGHT_CURVES[True][1000] == 0.861
