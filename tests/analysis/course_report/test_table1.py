import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from analysis.course_report.reported import ROWS, TABLE1
from analysis.course_report.table1 import table1_rich, table1_sheet
from analysis.output.formats import sheet_csv
from analysis.output.sheet import Sheet
from analysis.statistics.cells import summarise_cells
from tests.analysis.conftest import StoreBuilder


def entry(table: Sheet, row: str, sharing: bool) -> Mapping[str, Any]:
    (found,) = (entry for entry in table.rows if entry["row"] == row and entry["sharing"] == sharing)
    return found


@pytest.fixture
def table(store: StoreBuilder) -> Sheet:
    """Sharing off: a reference, two weights and a pruned one, and a short cell; sharing on: a failed reference only."""
    store.cell([0.80, 0.82, 0.87])
    store.cell([0.90, 0.90, 0.90], [0.70, 0.70, 0.70], aux_weight=1)
    store.cell([0.84, 0.86, 0.88], [0.80, 0.80, 0.80], aux_weight=10)
    store.cell([0.99, 0.99, 0.99], status="pruned", aux_weight=100)
    store.cell([0.91, 0.92], aux_weight=1, dropout=0.5)
    store.cell([None, None, None], sharing=True, status="failed")
    return table1_sheet(store.load())


def test_the_entries_are_those_of_the_report(table: Sheet) -> None:
    assert [(entry["row"], entry["sharing"]) for entry in table.rows] == [
        (row, on) for row in ROWS for on in (False, True)
    ]
    assert [texts[3] for texts in table.texts] == list(map(str, TABLE1.values()))
    last = entry(table, "auxiliary on + dropout", True)
    assert (last["reported_mean"], last["reported_std"], last["reported_n"]) == (0.912, 0.011, 10)


def test_an_entry_holds_the_mean_the_deviation_and_n(table: Sheet) -> None:
    reference = entry(table, "auxiliary off", False)
    assert reference["test_accuracy_mean"] == pytest.approx(0.83)
    assert reference["test_accuracy_std"] == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    assert (reference["state"], reference["n"], reference["cells_competed"]) == ("complete", 3, 1)
    chosen = {"cell_id": "cell00", "aux_weight": 0, "dropout": 0, "learning_rate": 0.001}
    assert {name: reference[name] for name in chosen} == chosen


def test_the_weight_is_chosen_by_validation_and_not_by_test_accuracy(table: Sheet) -> None:
    chosen = entry(table, "auxiliary on", False)
    assert chosen["aux_weight"] == 10
    assert chosen["test_accuracy_mean"] == pytest.approx(0.86)
    assert (chosen["cells_competed"], chosen["weights_competed"]) == (2, 2)


@pytest.mark.parametrize("weights", [(3, 1), (1, 3)])
def test_of_equals_the_smaller_weight_is_chosen(store: StoreBuilder, weights: tuple[int, int]) -> None:
    # Both are 497 of 600 pairs, but the mean of the larger weight's is greater in the last bit.
    by_weight = {3: (0.845, 0.975, 0.665), 1: (0.82, 0.96, 0.705)}
    for weight in weights:
        store.cell([0.5] * 3, by_weight[weight], aux_weight=weight)
    means = summarise_cells(store.load()).set_index("aux_weight")["val_accuracy_mean"]
    assert means[3] > means[1]
    assert entry(table1_sheet(store.load()), "auxiliary on", False)["aux_weight"] == 1


def test_further_factors_compete_by_the_same_rule_and_are_named(store: StoreBuilder) -> None:
    store.roles["batch_size"] = "tuned"
    for dropout, rate, size, val in ((0.2, 0.001, 50, 0.8), (0.5, 0.001, 50, 0.7), (0.5, 0.01, 100, 0.9)):
        store.cell([val] * 3, dropout=dropout, learning_rate=rate, aux_weight=1, batch_size=size)
    table = table1_sheet(store.load())
    chosen = entry(table, "auxiliary on + dropout", False)
    named = {"aux_weight": 1, "dropout": 0.5, "learning_rate": 0.01, "batch_size": 100}
    assert {name: chosen[name] for name in named} == named
    assert (chosen["cell_id"], chosen["cells_competed"], chosen["weights_competed"]) == ("cell02", 3, 1)
    assert "aux weight 1, dropout 0.5, learning rate 0.01, batch size 100; best of 3 cells" in table.texts[4][4]


def test_another_model_is_not_in_the_table(store: StoreBuilder) -> None:
    store.cell([0.95] * 3, model="classifier")
    assert entry(table1_sheet(store.load()), "auxiliary off", False)["state"] == "not in this study"


def test_an_entry_without_a_complete_cell_is_its_state(store: StoreBuilder, table: Sheet) -> None:
    states = {(e["row"], e["sharing"]): e["state"] for e in table.rows if e["state"] != "complete"}
    assert states == {
        ("auxiliary off", True): "failed: 3 of 3",
        ("auxiliary on", True): "not in this study",
        ("auxiliary on + dropout", False): "2 of 3 seeds",
        ("auxiliary on + dropout", True): "not in this study",
    }
    short = entry(table, "auxiliary on + dropout", False)
    assert (short["test_accuracy_mean"], short["test_accuracy_std"], short["n"], short["cell_id"]) == (
        None,
        None,
        0,
        None,
    )
    store.part(store.plan(aux_weight=3, dropout=0.5), [0.5] * 3, status="pruned", epochs=20)
    mixed = table1_sheet(store.load())
    assert entry(mixed, "auxiliary on + dropout", False)["state"] == "2 of 3 seeds; pruned at epoch 20"


def test_a_note_names_the_cells_that_did_not_compete(table: Sheet) -> None:
    (note,) = table.notes[1:]
    assert note == "Did not compete for auxiliary on, sharing off: aux weight 100 (pruned at epoch 2)."


def test_the_screen_shows_all_in_80_columns(table: Sheet) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table1_rich("abc", table))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).replace("│", " ").split())
    for expected in (
        "Table I of abc",
        "83.0 ± 3.6 (n = 3)",
        "report 80.7 ± 1.1",
        "86.0 ± 2.0 (n = 3)",
        "failed: 3 of 3",
        "2 of 3 seeds",
        "not in this study",
        "highest mean validation accuracy",
        "aux weight 100 (pruned at epoch 2)",
    ):
        assert expected in text
    assert any("aux weight 10, learning" in line for line in lines)


def test_the_sheet_has_a_row_an_entry(table: Sheet) -> None:
    assert table.texts == [
        ["auxiliary off", "off", "83.0 ± 3.6 (n = 3)", "80.7 ± 1.1", "learning rate 0.001"],
        ["auxiliary off", "on", "failed: 3 of 3", "83.9 ± 0.6", "–"],
        [
            "auxiliary on",
            "off",
            "86.0 ± 2.0 (n = 3)",
            "85.1 ± 1.8",
            "aux weight 10, learning rate 0.001; best of 2 weights",
        ],
        ["auxiliary on", "on", "not in this study", "86.0 ± 1.5", "–"],
        ["auxiliary on + dropout", "off", "2 of 3 seeds", "89.2 ± 1.0", "–"],
        ["auxiliary on + dropout", "on", "not in this study", "91.2 ± 1.1", "–"],
    ]


def test_csv_has_fractions_at_full_precision_and_nothing_where_nothing_is_known(table: Sheet) -> None:
    lines = list(csv.DictReader(io.StringIO(sheet_csv(table))))
    assert len(lines) == 6
    first, chosen, short = lines[0], lines[2], lines[4]
    reference = entry(table, "auxiliary off", False)
    assert float(first["test_accuracy_mean"]) == reference["test_accuracy_mean"]
    assert (first["reported_mean"], first["reported_std"], first["reported_n"]) == ("0.807", "0.011", "10")
    assert (chosen["row"], chosen["sharing"], chosen["n"]) == ("auxiliary on", "False", "3")
    assert (chosen["cell_id"], chosen["aux_weight"], chosen["cells_competed"]) == ("cell02", "10.0", "2")
    assert (short["state"], short["test_accuracy_mean"], short["aux_weight"]) == ("2 of 3 seeds", "", "")


def test_one_seed_is_shown_without_a_deviation(store: StoreBuilder) -> None:
    store.seeds = 1
    store.cell([0.8])
    table = table1_sheet(store.load())
    assert entry(table, "auxiliary off", False)["test_accuracy_std"] is None
    assert table.texts[0][2] == "80.0 (n = 1)"
