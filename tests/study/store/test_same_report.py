"""Studies of the same trainings have the same report, whichever of their grids and seeds were run first."""

from analysis.load import load_study
from analysis.output.formats import sheet_csv
from analysis.report import report_page
from study.grid.grid import Grid
from study.plan.jobs import study_info
from study.store.store import Store
from tests.study.conftest import build_result, record

FIXED = {"max_epochs": 2, "train_pairs": 400}
RATES = [{"when": {"dropout": 0.5}, "set": {"learning_rate": 0.01}}]


def grid(name, factors, contrast, **more):
    """A grid with a contrast of dropout at the first value of its other factors."""
    roles = {factor: {"role": "scientific", "values": values} for factor, values in factors.items()}
    sides = {"plus": [{"dropout": 0.5, **contrast}], "minus": [{"dropout": 0, **contrast}]}
    contrasts = [{"name": f"dropout, {name}", **sides}]
    content = {"name": name, "description": "The same.", "factors": roles, "protocol": FIXED, "contrasts": contrasts}
    return Grid.model_validate(content | more)


CROSSED = grid("z", {"dropout": [0, 0.5], "learning_rate": [0.001, 0.01]}, {"learning_rate": 0.001})
TIED = grid("a", {"sharing": [True, False], "dropout": [0.5, 0]}, {"sharing": True}, rules=RATES)


def trained(folder, runs):
    """Make a study by runs, each of a grid, the first of the seeds that it has, and those it trains now."""
    store = Store(str(folder), "abc")
    for asked, seeds in runs:
        cells = asked.cells()
        store.write_info(study_info("abc", asked, cells, seeds, store.read_info()))
        held = {row["trial_id"] for row in store.read_trials()[0]}
        for cell in cells:
            records = []
            for seed in seeds:
                # A figure of the training alone, with many digits.
                figure = (int(cell.cell_id, 16) * (seed + 3) % 10_007) / 30_011
                if cell.trial_id(seed) not in held:
                    records.append(record(seed, 1, val_accuracy=figure))
                    records.append(record(seed, 2, "completed", val_accuracy=figure, test_accuracy=figure))
            if records:
                store.write(build_result(records, cell))
    return load_study(str(folder), "abc")


def test_the_order_of_runs_seeds_and_grids_changes_no_table(tmp_path):
    orders = (
        [(CROSSED, range(2)), (TIED, range(4)), (CROSSED, range(4))],
        [(TIED, range(3)), (CROSSED, range(2, 4)), (CROSSED, range(4)), (TIED, range(4))],
    )
    pages = [report_page(trained(tmp_path / str(place), runs), {}) for place, runs in enumerate(orders)]
    first, second = ([sheet_csv(sheet) for sheet in page.sheets] for page in pages)
    assert first == second
    effects = next(sheet for sheet in pages[0].sheets if sheet.name == "effects")
    # Only cells that differ in one of the three are compared: the rate varies by itself, so nothing changes along.
    assert [(row["factor"], row["along"], row["pairs"]) for row in effects.rows] == [
        ("sharing", "", 2),
        ("dropout", "", 2),
        ("learning_rate", "", 2),
    ]
    assert pages[0].summary == pages[1].summary
    assert [picture.caption for picture in pages[0].pictures] == [picture.caption for picture in pages[1].pictures]
