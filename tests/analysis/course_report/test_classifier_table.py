import dataclasses

from analysis.course_report.classifier_table import classifier_sheet
from tests.analysis.conftest import StoreBuilder


def test_the_classifier_sheet_has_both_rules(store: StoreBuilder) -> None:
    store.cell([0.9, 0.9, 0.9])
    assert classifier_sheet(store.load()) is None
    store.cell([0.96, 0.97, 0.98], model="classifier", sharing=True)
    data = store.load()
    by_probability = data.trials["test_accuracy_by_probability"].where(data.trials["cell_id"] == "cell00", 0.99)
    data = dataclasses.replace(data, trials=data.trials.assign(test_accuracy_by_probability=by_probability))
    sheet = classifier_sheet(data)
    assert sheet is not None
    assert [row[2:] for row in sheet.texts] == [
        ["97.0", "1.0", "94.5 to 99.5", "3", "95.5"],
        ["97.0", "1.0", "94.5 to 99.5", "3", "97.0"],
        ["99.0", "0.0", "–", "3", "–"],
    ]
    assert [row["metric"] for row in sheet.rows] == [
        "test_digit_accuracy",
        "test_accuracy",
        "test_accuracy_by_probability",
    ]


def test_a_classifier_without_the_later_column_is_shown_by_rule(store: StoreBuilder) -> None:
    store.cell([0.96, 0.97, 0.98], model="classifier", sharing=True)
    data = store.load()
    older = dataclasses.replace(data, trials=data.trials.drop(columns="test_accuracy_by_probability"))
    sheet = classifier_sheet(older)
    assert sheet is not None
    assert len(sheet.rows) == 2
