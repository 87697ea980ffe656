"""The comparison of two studies in words and in tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from analysis.output.sheet import Column, Sheet, probability
from analysis.statistics.cells import describe_settings, format_setting
from analysis.statistics.difference import CellDifference, Difference

LEVEL = 0.05
Row = Mapping[str, Any]


def summarise_difference(found: Difference) -> list[str]:
    """Say in words what the comparison shows."""
    lines = [f"A is {found.a}, B is {found.b}; every difference is B minus A."]
    if found.protocol:
        lines.append(_protocol_in_words(found.protocol))
    return [*lines, *_counts_in_words(found.cells)]


def _protocol_in_words(protocol: Mapping[str, tuple[Any, Any]]) -> str:
    parts = []
    for name, (one, other) in protocol.items():
        parts.append(f"{name.replace('_', ' ')} {_setting(one)} in A, {_setting(other)} in B")
    listed = "; ".join(parts)
    return f"The studies differ in settings that are not factors: {listed}. Cells match by all other settings."


def _setting(value: Any) -> str:
    return "unknown" if value is None else format_setting(value)


def _counts_in_words(cells: Sequence[CellDifference]) -> Iterator[str]:
    only_a = sum(cell.cell_id_b is None for cell in cells)
    only_b = sum(cell.cell_id_a is None for cell in cells)
    yield f"Cells: {len(cells) - only_a - only_b} in both, {only_a} only in A, {only_b} only in B."

    both = sum(cell.both for cell in cells)
    only_a = sum(cell.only_a for cell in cells)
    only_b = sum(cell.only_b for cell in cells)
    yield f"Finished trials: {both} in both, {only_a} only in A, {only_b} only in B."

    # Studies with the same bits throughout do not differ: the tests would say nothing more.
    same = sum(cell.identical for cell in cells)
    if both:
        share = "All" if same == both else str(same or "None")
        yield f"{share} of the {both} trials in both have the same bits, in their result and in every epoch."
    tested = _corrected_p_values(cells, "test_accuracy")
    if tested and (same < both or not both):
        low = sum(p < LEVEL for p in tested)
        yield f"Test accuracy differs in {low} of {len(tested)} cells (p < {LEVEL} after Holm's correction)."


def _corrected_p_values(cells: Sequence[CellDifference], metric: str) -> list[float]:
    changes = [cell.changes[metric] for cell in cells]
    return [change.p_holm for change in changes if change is not None and change.p_holm is not None]


def difference_sheet(found: Difference) -> Sheet:
    """Put the comparison into a table, one row per cell that both studies have."""
    cells = [cell for cell in found.cells if cell.cell_id_a and cell.cell_id_b]
    factors = list(cells[0].settings) if cells else []
    varied = [name for name in factors if len({cell.settings[name] for cell in cells}) > 1] or factors
    return Sheet(
        name="difference",
        title="B minus A",
        caption=(
            "Accuracies in percentage points, with 95 % t intervals. If both studies finished two or more of the same "
            "seeds, the intervals are of the differences by seed, otherwise of the difference between the means of all "
            "seeds (Welch). p is of the same t test of test accuracy, corrected for the number of cells (Holm)."
        ),
        columns=(
            Column("cell", lambda row: describe_settings(row["settings"], varied)),
            Column("A", lambda row: row["state_a"]),
            Column("B", lambda row: row["state_b"]),
            Column("pairs", _pairs, numeric=True),
            _change_column("test", "test_accuracy", 100),
            Column("p, Holm", _p_holm, numeric=True),
            _change_column("validation", "val_accuracy", 100),
            _change_column("epochs", "epochs", 1),
        ),
        rows=tuple(map(asdict, cells)),
    )


def _pairs(row: Row) -> str:
    change = row["changes"]["test_accuracy"]
    if change is None:
        return ""
    if not change["pairs"]:
        return "unpaired"
    same = ", same bits" if row["identical"] and row["identical"] == row["both"] else ""
    return f"{change['pairs']}{same}"


def _p_holm(row: Row) -> str:
    change = row["changes"]["test_accuracy"]
    return probability(None if change is None else change["p_holm"])


def _change_column(heading: str, metric: str, scale: int) -> Column:
    """Show the mean change of a metric and its interval, multiplied by ``scale``."""

    def text(row: Row) -> str:
        change = row["changes"][metric]
        if change is None:
            return ""
        mean = f"{scale * change['mean']:+.1f}"
        if change["low"] is None:
            return mean
        return f"{mean} ({scale * change['low']:+.1f} to {scale * change['high']:+.1f})"

    return Column(heading, text, numeric=True)


def provenance_sheet(found: Difference) -> Sheet:
    """List what differs between the runs of the two studies."""
    rows = [{"what": name, "A": one, "B": other} for name, (one, other) in found.provenance.items()]
    return Sheet(
        name="provenance",
        title="Where they come from",
        caption="What differs between the runs of the two studies: code, packages, data and machines.",
        columns=tuple(Column(name, itemgetter(name)) for name in ("what", "A", "B")),
        rows=tuple(rows),
    )
