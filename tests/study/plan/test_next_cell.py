"""What a search suggests, from made rows: no training, no Ray."""

from datetime import UTC, datetime, timedelta
from statistics import median

from study.grid.grid import Grid
from study.plan.jobs import plan_job, study_info
from study.plan.next_cell import CellSearch, score_of, searched_cells, trained_for
from trainables.config import Metric
from trainables.digits.settings import CellConfig

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SEEDS = (0, 1)


def grid(budget=None, startup=3, seed=0, **ranges):
    ranges = ranges or {"dropout": {"low": 0, "high": 0.9}, "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}
    search = {"ranges": ranges, "budget": budget or {"trainings": 60}, "startup": startup, "seed": seed}
    return Grid.model_validate({"name": "s", "description": "s", "seeds": len(SEEDS), "search": search})


def rows_of(cell, accuracy, status="completed", start=NOON, minutes=1.0, epochs=80):
    """A row a seed, a thousandth below and above the accuracy."""
    return [
        {
            "cell_id": cell.cell_id,
            "trial_id": cell.trial_id(seed),
            "seed": seed,
            "status": status,
            "epochs": epochs,
            "val_accuracy": None if status == "failed" else accuracy + 0.001 * (2 * seed - 1),
            "started_at": start,
            "finished_at": start + timedelta(minutes=minutes),
        }
        for seed in SEEDS
    ]


def quality(cell):
    """Best at dropout 0.3."""
    return 0.9 - (cell.dropout - 0.3) ** 2


def run(search, count):
    """Train cells one after another; return them."""
    jobs = search.jobs([], lambda: 1, lambda job: None)
    trained = []
    for job in jobs:
        trained.append(job.cell)
        search.learn(rows_of(job.cell, quality(job.cell)))
        if len(trained) == count:
            break
    return trained


def begun(of, cells=()):
    """A search whose given cell and these have been trained."""
    cells = [*of.cells(), *cells]
    return CellSearch(of, SEEDS, cells, [row for cell in cells for row in rows_of(cell, quality(cell))])


def test_what_rows_say_of_a_cell():
    cell = CellConfig()
    assert score_of(rows_of(cell, 0.75), 2, "val_accuracy") == 0.75
    assert score_of(rows_of(cell, 0.5, "pruned", epochs=20), 2, "val_accuracy") == 0.5
    assert score_of(rows_of(cell, 0.75)[:1], 2, "val_accuracy") is None
    assert score_of(rows_of(cell, 0.75)[:1] + rows_of(cell, 0, "failed")[1:], 2, "val_accuracy") is None


def test_time_in_which_cells_trained_is_counted_once():
    cells = [CellConfig(dropout=d) for d in (0, 0.1, 0.2, 0.3)]
    spans = [(0, 10), (5, 10), (8, 1), (60, 2.5)]  # until 10, 15, 9 and 62.5
    rows = [
        row
        for cell, (at, minutes) in zip(cells, spans, strict=True)
        for row in rows_of(cell, 0.5, start=NOON + timedelta(minutes=at), minutes=minutes)
    ]
    assert trained_for(rows) == timedelta(minutes=17.5)
    assert trained_for([]) == timedelta(0)


def test_an_interrupted_search_goes_on_with_the_cells_that_it_would_have_had():
    whole = begun(grid())
    cells = run(whole, 15)
    assert len(set(cells)) == 15
    for kept in (0, 2, 9):  # within the random beginning, at its end, and among those that are learned
        assert run(begun(grid(), cells[:kept]), 15 - kept) == cells[kept:]


def test_another_seed_suggests_other_cells():
    assert run(begun(grid(seed=1)), 5) != run(begun(grid()), 5)


def test_it_finds_what_is_good():
    """Learned suggestions come nearer to the optimum than random ones."""
    cells = run(begun(grid(startup=11)), 55)
    distances = [abs(cell.dropout - 0.3) for cell in cells]
    assert median(distances[-20:]) < 0.7 * median(distances[:10])


def test_with_a_min_goal_it_finds_what_is_low(monkeypatch):
    monkeypatch.setattr(CellConfig, "metrics", (Metric("accuracy", "min"),))
    cells = run(begun(grid(startup=11)), 40)
    edge = [min(cell.dropout, 0.9 - cell.dropout) for cell in cells]  # quality is lowest at both ends
    assert median(edge[-15:]) < 0.7 * median(edge[:10])


def test_a_small_space_is_searched_to_its_end_and_no_cell_is_there_twice():
    ranges = {"sharing": {"choices": [False, True]}, "batch_size": {"low": 50, "high": 150, "step": 50}}
    search = begun(grid(**ranges))
    assert {(cell.sharing, cell.batch_size) for cell in [*grid(**ranges).cells(), *run(search, 60)]} == {
        (sharing, size) for sharing in (False, True) for size in (50, 100, 150)
    }
    assert (len(search.cells), search.is_over, search.cells_left) == (6, True, 24)


def test_cells_wait_for_room_and_those_in_training_are_not_suggested_again():
    search_grid = grid(sharing={"choices": [False, True]}, fixed_data={"choices": [False, True]})
    search = begun(search_grid)
    jobs, expected = [], []
    handed = search.jobs([], lambda: 2, expected.append)
    jobs = [next(handed), next(handed)]
    assert (next(handed), next(handed)) == (None, None)
    search.learn(rows_of(jobs[0].cell, 0.9))
    jobs.append(next(handed))
    assert next(handed) is None
    assert len({job.cell for job in jobs} | set(search.cells)) == 4
    search.learn(rows_of(jobs[1].cell, 0, "failed"))
    assert list(handed) == []  # all four are there, though one has failed
    assert not search.is_over  # one is in training
    search.learn(rows_of(jobs[2].cell, 0.9))
    assert search.is_over
    assert expected == jobs == [plan_job(search_grid, job.cell, SEEDS) for job in jobs]


def test_jobs_of_cells_that_were_interrupted_come_first_and_count():
    search = begun(grid({"trainings": 6}))
    cell = grid().suggested({"dropout": 0.5, "learning_rate": 0.01}, "mnist5k")
    search.cells.append(cell)
    first = plan_job(grid(), cell, SEEDS[1:], whole=False)
    handed = search.jobs([first], lambda: 1, lambda job: None)
    assert next(handed) == first
    assert next(handed) is None
    assert (search.cells_left, search.budget_is_spent) == (1, False)
    search.learn(rows_of(cell, 0.9))
    search.learn(rows_of(next(handed).cell, 0.9))
    assert (list(handed), search.cells_left, search.budget_is_spent) == ([], 0, True)


def test_more_seeds_leave_fewer_cells():
    search = CellSearch(grid({"trainings": 60}), range(10), grid().cells(), [])
    assert search.cells_left == 5
    assert search.ahead() == "then the search suggests up to 5 cells: its budget is 60 trainings"
    assert search.cells_of_a_run([plan_job(grid(), CellConfig(), (0,))]) == 6
    assert search.jobs_left() == [plan_job(grid(), grid().cells()[0], range(10))] * 5


def test_a_budget_of_minutes_is_that_of_all_runs():
    of = grid({"minutes": 3})
    (cell,) = of.cells()
    assert not CellSearch(of, SEEDS, [cell], rows_of(cell, 0.9, minutes=2.9)).budget_is_spent
    over = CellSearch(of, SEEDS, [cell], rows_of(cell, 0.9, minutes=3))
    assert over.budget_is_spent
    assert list(over.jobs([], lambda: 1, lambda job: None)) == []
    assert (over.is_over, over.jobs_left(), over.cells_of_a_run([])) == (True, [], None)
    assert over.ahead() == "the search is over: its budget is 3 minutes"


def test_pruned_cells_are_learned_from_and_failed_ones_are_not():
    of = grid(startup=1)
    cells = run(begun(of), 6)

    def next_cell(told):
        return CellSearch(of, SEEDS, cells, [row for rows in told for row in rows]).suggest()

    known = [rows_of(cell, quality(cell)) for cell in cells[:4]]
    pruned = next_cell([*known, rows_of(cells[4], 0.2, "pruned", epochs=20)])
    assert pruned == next_cell([*known, rows_of(cells[4], 0.2, "pruned", epochs=20), rows_of(cells[5], 0, "failed")])
    assert pruned != next_cell(known)


def test_cells_of_the_study_belong_to_a_search_that_would_suggest_them():
    of = grid()
    own, outside, other = (CellConfig(dropout=d, batch_size=size) for d, size in ((0.5, 100), (0.95, 100), (0.5, 50)))
    info = study_info("s", of, [own, outside, other, own.model_copy(update={"data": "mnist"})], SEEDS, None)
    assert searched_cells(of, of.cells(), info) == [own, *of.cells()]
    assert searched_cells(of, of.cells(), None) == of.cells()
    assert info.search["budget"] == {"trainings": 60}
    unsearched = study_info("s", grid().model_copy(update={"search": None}), [own], SEEDS, None)
    assert "search" not in unsearched.as_dict()
