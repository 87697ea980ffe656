"""As many seeds as it takes: the seeds that contrasts need for their next look."""

from dataclasses import replace

from study.plan.run_options import Work
from study.store.status import standings_in
from study.store.study_json import join_info


def next_look(work: Work) -> Work | None:
    """Return the work of the next look of all undecided contrasts, or None if no contrast waits for seeds.

    The study gets these seeds only for their cells. A contrast that is held back gets none.
    """
    info = work.store.known_info()
    further: dict[str, set[int]] = {}
    for standing in standings_in(work.store):
        following = standing.decision.next_look
        if following is not None and not standing.held:
            for cell_id in standing.cells:
                further.setdefault(cell_id, set()).update(range(following))
    asked = {}
    for cell_id, seeds in further.items():
        planned = {*info.seeds, *info.further_seeds.get(cell_id, ())}
        asked[cell_id] = sorted(seeds - planned)
    if not any(asked.values()):
        return None
    grown = join_info(info, replace(info, further_seeds=asked))
    return replace(work, info=grown, seeds=grown.seeds)
