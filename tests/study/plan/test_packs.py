from study.grid.load import load_grid
from study.plan.jobs import plan_run, study_info
from study.plan.packs import cell_ids, pack_config, packs_of
from study.plan.run_options import Work
from trainables.registry import read_cell


def jobs_of(grid, seeds):
    """All jobs of a grid, of which nothing is stored."""
    info = study_info("packs", grid, grid.cells(), seeds, None)
    return plan_run(Work(grid, grid.cells(), seeds, "none", store=None, info=info, again=None), []).jobs


def test_packs_are_of_cells_that_may_share_a_stack_and_even_in_size():
    full = load_grid("full")
    jobs = jobs_of(full, range(10))
    assert [len(pack) for pack in packs_of(jobs, 100)] == [16, 16, 1]  # sharing off, on, and the classifier
    assert [len(pack) for pack in packs_of(jobs, 9)] == [8, 8, 8, 8, 1]  # each a stratum
    assert [len(pack) for pack in packs_of(jobs, 7)] == [5, 5, 6, 5, 5, 6, 1]
    assert [job for pack in packs_of(jobs, 9) for job in pack] == list(jobs)
    assert packs_of(jobs, 1) == [(job,) for job in jobs]


def test_rivals_are_packed_together_where_the_grid_lists_them_apart():
    grid = load_grid("smoke").model_copy(
        update={"factors": {name: load_grid("smoke").factors[name] for name in ("aux_weight", "sharing")}}
    )
    jobs = jobs_of(grid, range(2))
    assert [job.cell.sharing for job in jobs] == [False, True, False, True]
    packs = packs_of(jobs, 2)
    assert [[job.cell.sharing for job in pack] for pack in packs] == [[False, False], [True, True]]
    assert [pack[0] for pack in packs] == [jobs[0], jobs[1]]


def test_a_pack_as_plain_values_has_its_cells_and_seeds():
    grid = load_grid("smoke")
    (pack,) = packs_of(jobs_of(grid, range(2))[:2], 2)
    config = pack_config(pack)
    assert cell_ids(config) == [job.cell.cell_id for job in pack]
    assert [(read_cell(part["cell"]), part["seeds"]) for part in config["cells"]] == [
        (job.cell, list(job.seeds)) for job in pack
    ]
