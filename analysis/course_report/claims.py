"""What the course report claims: one record per claim."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.course_report.reported import (
    AUXILIARY_AND_DROPOUT,
    AUXILIARY_OFF,
    AUXILIARY_ON,
    CLASSIFIER_DIGITS,
    CLASSIFIER_PAIRS,
    TABLE1,
    Reported,
)
from analysis.statistics.cells import format_setting


@dataclass(frozen=True)
class Claim:
    """What the report claims, and the cells of a study that the claim is about.

    ``value`` is in percent, points or a weight. If several cells match a condition, the one with the
    highest mean validation accuracy stands for it. ``kind`` is one of:

    - ``accuracy``: the mean ``metric`` of the cell that matches ``cell``. ``spread`` holds the report's entry;
    - ``gain``: its test accuracy minus that of the cell that matches ``than``. The two cells differ in
      ``varies``. ``spread`` holds both entries of Table I;
    - ``above``: its mean test accuracy is above ``value``;
    - ``best weight``: of the cells that match ``cell``, the one with weight ``value`` has the best test accuracy.

    ``spread`` is empty if the report gives no spread.
    """

    key: str
    text: str
    kind: Literal["accuracy", "gain", "above", "best weight"]
    value: float
    cell: Mapping[str, Any]
    than: Mapping[str, Any] | None = None
    varies: tuple[str, ...] = ()
    spread: tuple[Reported, ...] = ()
    metric: str = "test_accuracy"

    @property
    def reported(self) -> float:
        """What the report says: an accuracy or a gain as a fraction, or a weight."""
        return self.value if self.kind == "best weight" else self.value / 100


# The settings of the cells that the rows of Table I are about. Without dropout, the learning rate is the
# one that the report states. With dropout the report's code used another one, so the conditions leave
# the rate open and take what the study has.
_PLAIN: dict[str, Any] = {"model": "comparator", "dropout": 0, "learning_rate": 0.001}
_DROPOUT: dict[str, Any] = {"model": "comparator", "dropout": 0.5}
_CLASSIFIER: dict[str, Any] = {"model": "classifier", "dropout": 0, "learning_rate": 0.001}
_ROWS = {
    AUXILIARY_OFF: _PLAIN | {"aux_weight": 0},
    AUXILIARY_ON: _PLAIN | {"aux_weight": 10},
    AUXILIARY_AND_DROPOUT: _DROPOUT | {"aux_weight": 1},
}
_CELLS = {(row, sharing): _ROWS[row] | {"sharing": sharing} for row, sharing in TABLE1}
# Entries of Table I, by row and weight sharing.
_NOTHING = (AUXILIARY_OFF, False)
_SHARING = (AUXILIARY_OFF, True)
_AUXILIARY = (AUXILIARY_ON, False)
_BOTH = (AUXILIARY_ON, True)
_BEST = (AUXILIARY_AND_DROPOUT, True)


def _accuracy(entry: tuple[str, bool]) -> Claim:
    """Make the claim that an entry of Table I is."""
    row, sharing = entry
    reported = TABLE1[entry]
    place = f"{row}, sharing {format_setting(sharing)}"
    text = f"Table I, {place}: {reported} %."
    return Claim(place, text, "accuracy", reported.mean, _CELLS[entry], spread=(reported,))


def _gain(key: str, text: str, value: float, better: tuple[str, bool], worse: tuple[str, bool]) -> Claim:
    """Make a claim of what one entry of Table I gains over another."""
    cell = _CELLS[better]
    than = _CELLS[worse]
    # The claim names what both conditions name. With dropout it includes the weight: the report
    # compares its best cell with dropout with its best cell without.
    varies = tuple(name for name in cell if name in than and cell[name] != than[name])
    return Claim(key, text, "gain", value, cell, than, varies, (TABLE1[better], TABLE1[worse]))


CLAIMS = (
    _gain("sharing alone", "Weight sharing alone brings about 3.2 points.", 3.2, _SHARING, _NOTHING),
    _gain("auxiliary loss alone", "The auxiliary loss alone brings about 4.4 points.", 4.4, _AUXILIARY, _NOTHING),
    _gain("both", "Both, at weight 10, bring 5.3 points.", 5.3, _BOTH, _NOTHING),
    _gain("dropout", "Dropout brings a further 5 points.", 5.0, _BEST, _BOTH),
    Claim(
        key="best weight without dropout",
        text="Without dropout, with sharing, an auxiliary weight of 10 is the best.",
        kind="best weight",
        value=10,
        cell=_PLAIN | {"sharing": True},
    ),
    Claim(
        key="best weight with dropout",
        text="With dropout and sharing, an auxiliary weight of 1 is the best.",
        kind="best weight",
        value=1,
        cell=_DROPOUT | {"sharing": True},
    ),
    Claim(
        key="goal",
        text="Sharing and the auxiliary loss at weight 10 reach the goal of 85 %.",
        kind="above",
        value=85,
        cell=_CELLS[_BOTH],
    ),
    Claim(
        key="classifier, digits",
        text="A digit classifier reaches 95.5 % on the digits.",
        kind="accuracy",
        value=100 * CLASSIFIER_DIGITS,
        cell=_CLASSIFIER,
        metric="test_digit_accuracy",
    ),
    Claim(
        key="classifier, pairs",
        text="Its digits, compared by rule, reach 97 % on the pairs.",
        kind="accuracy",
        value=100 * CLASSIFIER_PAIRS,
        cell=_CLASSIFIER,
    ),
    Claim(
        key="classifier over comparator",
        text="The classifier is by far better than the comparator without dropout: 97 against 86 %.",
        kind="gain",
        value=11,
        cell=_CLASSIFIER,
        than=_CELLS[_BOTH],
        varies=("model", "aux_weight"),
    ),
    *map(_accuracy, TABLE1),
)
# The claims that are an entry of Table I.
ENTRIES = frozenset(_accuracy(entry).key for entry in TABLE1)
