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

    @property
    def reported_std(self) -> float | None:
        """The report's standard deviation, a fraction; None for a gain and if the report gives none."""
        return self.spread[0].std / 100 if len(self.spread) == 1 else None

    @property
    def reported_n(self) -> int | None:
        """The report's number of rounds; None if it gives no spread."""
        return self.spread[0].n if self.spread else None


# Without dropout, the learning rate is the one that the report states. With dropout the report's code
# used another one, so the conditions leave the rate open and take what the study has.
_UNSHARED: dict[str, Any] = {"model": "comparator", "sharing": False, "dropout": 0, "learning_rate": 0.001}
_SHARED = _UNSHARED | {"sharing": True}
_DROPOUT: dict[str, Any] = {"model": "comparator", "sharing": True, "dropout": 0.5}
_CLASSIFIER: dict[str, Any] = {"model": "classifier", "dropout": 0, "learning_rate": 0.001}
_OFF = {"aux_weight": 0}
_ON = {"aux_weight": 10}
_ENTRIES = {
    AUXILIARY_OFF: _UNSHARED | _OFF,
    AUXILIARY_ON: _UNSHARED | _ON,
    AUXILIARY_AND_DROPOUT: _DROPOUT | {"aux_weight": 1},
}


def _entry_claim(row: str, sharing: bool) -> Claim:
    """Make the claim that an entry of Table I is."""
    reported = TABLE1[row, sharing]
    place = f"{row}, sharing {format_setting(sharing)}"
    return Claim(
        key=place,
        text=f"Table I, {place}: {reported.mean} ± {reported.std} %.",
        kind="accuracy",
        value=reported.mean,
        cell=_ENTRIES[row] | {"sharing": sharing},
        spread=(reported,),
    )


_PLAIN_ENTRY = TABLE1[AUXILIARY_OFF, False]
CLAIMS = (
    Claim(
        key="sharing alone",
        text="Weight sharing alone brings about 3.2 points.",
        kind="gain",
        value=3.2,
        cell=_SHARED | _OFF,
        than=_UNSHARED | _OFF,
        varies=("sharing",),
        spread=(TABLE1[AUXILIARY_OFF, True], _PLAIN_ENTRY),
    ),
    Claim(
        key="auxiliary loss alone",
        text="The auxiliary loss alone brings about 4.4 points.",
        kind="gain",
        value=4.4,
        cell=_UNSHARED | _ON,
        than=_UNSHARED | _OFF,
        varies=("aux_weight",),
        spread=(TABLE1[AUXILIARY_ON, False], _PLAIN_ENTRY),
    ),
    Claim(
        key="both",
        text="Both, at weight 10, bring 5.3 points.",
        kind="gain",
        value=5.3,
        cell=_SHARED | _ON,
        than=_UNSHARED | _OFF,
        varies=("sharing", "aux_weight"),
        spread=(TABLE1[AUXILIARY_ON, True], _PLAIN_ENTRY),
    ),
    Claim(
        key="dropout",
        text="Dropout brings a further 5 points.",
        kind="gain",
        value=5.0,
        cell=_DROPOUT | {"aux_weight": 1},
        than=_SHARED | _ON,
        # The report compares its best cell with dropout with its best cell without, so both vary.
        varies=("dropout", "aux_weight"),
        spread=(TABLE1[AUXILIARY_AND_DROPOUT, True], TABLE1[AUXILIARY_ON, True]),
    ),
    Claim(
        key="best weight without dropout",
        text="Without dropout, with sharing, an auxiliary weight of 10 is the best.",
        kind="best weight",
        value=10,
        cell=_SHARED,
    ),
    Claim(
        key="best weight with dropout",
        text="With dropout and sharing, an auxiliary weight of 1 is the best.",
        kind="best weight",
        value=1,
        cell=_DROPOUT,
    ),
    Claim(
        key="goal",
        text="Sharing and the auxiliary loss at weight 10 reach the goal of 85 %.",
        kind="above",
        value=85,
        cell=_SHARED | _ON,
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
        than=_SHARED | _ON,
        varies=("model", "aux_weight"),
    ),
    *(_entry_claim(row, sharing) for row, sharing in TABLE1),
)
