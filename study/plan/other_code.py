"""Whether the rows of a study were made by the code and on the data that its cells have now."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainables.config import TrainingSettings
from trainables.identity import code_id, code_id_of, made_by


def other_code(cells: Sequence[TrainingSettings], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of each model how many rows, failed ones aside, were made by other code or data than now."""
    data = {cell.cell_id: made_by(cell)["data_sha256"] for cell in cells}
    models = {cell.model for cell in cells}
    counts = Counter[tuple[str, str, str]]()
    for row in rows:
        if row["model"] not in models or row["status"] == "failed":
            continue
        was, now = code_id_of(row), code_id(row["model"])
        # What was stored before code was recorded has no data either.
        on, on_now = row.get("data_sha256"), data.get(row["cell_id"])
        if was != now:
            counts[row["model"], f"by the code {was}", now] += 1
        elif on is not None and on_now is not None and on != on_now:
            counts[row["model"], f"on the data {on[:12]}", on_now[:12]] += 1
    for (model, how, now), count in counts.items():
        yield f"{count} trials of {model} were trained {how}, now it is {now}"
