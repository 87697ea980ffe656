import io
import re

from rich.console import Console

from analysis.course_report.claims_table import claims_rich, claims_sheet, summarise
from analysis.course_report.verdicts import findings_data
from analysis.output.formats import sheet_csv, sheet_markdown
from tests.analysis.conftest import StoreBuilder
from tests.analysis.course_report.conftest import around


def test_every_claim_is_in_the_sheet_and_its_text_agrees_with_its_values(ten: StoreBuilder) -> None:
    ten.cell(around(0.81))
    ten.cell(around(0.84, 0.011), sharing=True)
    sheet = claims_sheet(findings_data(ten.load()))
    assert len(sheet.rows) == 16
    text = sheet_markdown(sheet)
    line = next(line for line in text.splitlines() if "Weight sharing alone" in line)
    assert [part.strip() for part in line.split("|")[2:8]] == [
        *("+3.2", "+3.0", "+2.9 to +3.1", "10"),
        *("agrees within 3 points", "–"),
    ]
    assert "sharing alone,Weight sharing alone brings about 3.2 points.,gain,0.032,,10," in sheet_csv(sheet)


def test_the_summary_counts_entries_of_table_1_and_nothing_made_of_them(ten: StoreBuilder) -> None:
    ten.cell(around(0.87))
    ten.cell([a + g for a, g in zip(around(0.81), around(0.03, 0.005), strict=True)], sharing=True)
    findings = findings_data(ten.load())
    entries, gain, contradicted = summarise(findings)
    assert entries.startswith(
        "Verdicts on the 6 entries of the report's Table I: agrees within 3 points (1), contradicted (1), "
        "not measured (4). They share"
    )
    assert gain.startswith("Weight sharing alone brings about 3.2 points. Measured: -3.0 (95 % interval ")
    assert contradicted == "Contradicted: auxiliary off, sharing off (6.3 points more than reported)."


def test_a_study_of_something_else_is_said_to_be_that(ten: StoreBuilder) -> None:
    ten.cell(around(0.8), aux_weight=7)
    assert summarise(findings_data(ten.load())) == [
        "This study has no complete cell that any claim of the report is about."
    ]


def test_a_smoke_grid_gets_no_verdict_and_its_study_says_why(ten: StoreBuilder) -> None:
    ten.cell(around(0.807), max_epochs=3)
    assert summarise(findings_data(ten.load())) == [
        "This study has no complete cell that any claim of the report is about "
        "(trained otherwise: max epochs 3 instead of 80)."
    ]


def test_the_screen_has_the_measured_claims_and_counts_the_others(store: StoreBuilder) -> None:
    store.cell([0.840, 0.829, 0.851], sharing=True)
    store.cell([0.81, 0.80, 0.82])
    sheet = claims_sheet(findings_data(store.load()))
    console = Console(width=80, file=io.StringIO())
    console.print(claims_rich(sheet))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    found = [re.search(r" ([+\d.]+) +([+\d.]+) +(\S+ to \S+) +(.*\S)", line) for line in lines]
    # t of 2 degrees of freedom is 4.303; deviations are 1, 1.1 and 0.1 over 3 seeds: 4.303 / sqrt(3) = 2.48.
    assert [match.groups() for match in found if match] == [
        ("+3.2", "+3.0", "+2.8 to +3.2", "agrees within 3"),
        ("80.7", "81.0", "78.5 to 83.5", "compatible, known to"),
        ("83.9", "84.0", "81.3 to 86.7", "agrees within 3"),
    ]
    assert f"{len(sheet.rows) - 3} more claims are not measured" in " ".join(" ".join(lines).split())
