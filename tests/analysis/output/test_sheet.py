from dataclasses import replace

from analysis.output.formats import sheet_csv, sheet_markdown
from analysis.output.sheet import Column, Sheet, interval, percent, probability

SHEET = Sheet(
    name="made",
    title="Made",
    caption="In percent.",
    columns=(Column("what", lambda row: row["what"]), Column("accuracy", lambda row: percent(row["a"]), numeric=True)),
    rows=({"what": "first", "a": 0.8123}, {"what": "", "a": None}),
    notes=("One.", "Two."),
)


def test_numbers_are_written_for_people() -> None:
    assert [percent(0.8123), percent(0.032, sign=True), percent(-0.032, sign=True)] == ["81.2", "+3.2", "-3.2"]
    # One mean, added up in three orders.
    assert percent(0.9165) == percent(0.9165 - 1e-16) == percent(0.9165 + 1e-16) == "91.7"
    assert [percent(None), percent(float("nan")), interval(None, 0.1), interval(0.1, float("nan"))] == ["–"] * 4
    assert [interval(0.81, 0.835), interval(-0.01, 0.02, sign=True)] == ["81.0 to 83.5", "-1.0 to +2.0"]
    assert [probability(p) for p in (0.0009, 0.001, 0.0512, None)] == ["< 0.001", "0.001", "0.051", "–"]


def test_unknown_values_are_dashes_for_people_and_empty_for_programs() -> None:
    assert SHEET.texts == [["first", "81.2"], ["–", "–"]]
    assert sheet_csv(SHEET) == "what,a\nfirst,0.8123\n,\n"


def test_a_column_of_words_without_any_is_not_read() -> None:
    empty = Column("along", lambda row: ""), Column("p", lambda row: "", numeric=True)
    sheet = replace(SHEET, columns=(SHEET.columns[0], *empty))
    assert [column.heading for column in sheet.visible_columns] == ["what", "p"]
    assert sheet.texts == [["first", "–"], ["–", "–"]]
    assert sheet_markdown(sheet).splitlines()[2] == "| what   |   p |"
    assert [column.heading for column in replace(sheet, rows=()).visible_columns] == ["what", "along", "p"]
