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
    ten.cell([a + g for a, g in zip(around(0.81), around(0.03, 0.005), strict=True)], sharing=True)
    sheet = claims_sheet(findings_data(ten.load()))
    assert len(sheet.rows) == 16
    text = sheet_markdown(sheet)
    line = next(line for line in text.splitlines() if "Weight sharing alone" in line)
    assert [part.strip() for part in line.split("|")[2:8]] == ["+3.2", "+3.0", "+2.6 to +3.4", "10", "reproduced", "–"]
    assert "sharing alone,Weight sharing alone brings about 3.2 points.,gain,0.032,," in sheet_csv(sheet)


def test_the_summary_counts_and_names(ten: StoreBuilder) -> None:
    ten.cell(around(0.83))
    ten.cell([a + g for a, g in zip(around(0.83), around(0.03, 0.005), strict=True)], sharing=True)
    sentences = summarise(findings_data(ten.load()))
    assert sentences[0] == "Of 16 claims of the report: 1 reproduced, 2 not reproduced, 13 not measured."
    assert sentences[1] == (
        "Weight sharing alone brings about 3.2 points. Measured: +3.0 (95 % interval +2.6 to +3.4, n = 10). Reproduced."
    )
    assert sentences[2] == (
        "Also not reproduced: auxiliary off, sharing off (2.3 points higher than reported); "
        "auxiliary off, sharing on (2.1 points higher than reported)."
    )


def test_a_study_of_something_else_is_said_to_be_that(ten: StoreBuilder) -> None:
    ten.cell(around(0.8), aux_weight=7)
    assert summarise(findings_data(ten.load())) == [
        "This study has no complete cell that any claim of the report is about."
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
        ("+3.2", "+3.0", "+2.8 to +3.2", "reproduced"),
        ("80.7", "81.0", "78.5 to 83.5", "undecided"),
        ("83.9", "84.0", "81.3 to 86.7", "undecided"),
    ]
    assert f"{len(sheet.rows) - 3} more claims are not measured" in " ".join(" ".join(lines).split())
