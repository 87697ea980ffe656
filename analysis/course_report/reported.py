"""The numbers of the course report that this project is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.statistics.inference import Measure

ROUNDS = 10
# How the report trained; a cell without one of these settings was trained so. The later ones leave out
# what the report's networks do not have.
PROTOCOL: Mapping[str, Any] = {
    **{"max_epochs": 80, "batch_size": 100, "optimizer": "adam", "weight_decay": 0, "clip_norm": 0},
    **{"schedule": "plateau", "plateau_factor": 0.2, "plateau_patience": 7, "stop_patience": 10, "warmup_epochs": 0},
    **{"train_pairs": 1000, "test_pairs": 1000, "validation_share": 0.2, "fixed_data": False},
    **{"pairing": "drawn", "shift": 0, "distort": 0, "batch_norm": False, "width": 1},
}


@dataclass(frozen=True)
class Reported:
    """A test accuracy in percent: mean and standard deviation (ddof=1) over ``n`` rounds."""

    mean: float
    std: float
    n: int = ROUNDS

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.std:.1f}"

    @property
    def measure(self) -> Measure:
        """The accuracy as a fraction."""
        return Measure.of(self.mean / 100, self.std / 100, self.n)


AUXILIARY_OFF = "auxiliary off"
AUXILIARY_ON = "auxiliary on"
AUXILIARY_AND_DROPOUT = "auxiliary on + dropout"
ROWS = (AUXILIARY_OFF, AUXILIARY_ON, AUXILIARY_AND_DROPOUT)

# Table I, by row and weight sharing.
TABLE1 = {
    (AUXILIARY_OFF, False): Reported(80.7, 1.1),
    (AUXILIARY_OFF, True): Reported(83.9, 0.6),
    (AUXILIARY_ON, False): Reported(85.1, 1.8),
    (AUXILIARY_ON, True): Reported(86.0, 1.5),
    (AUXILIARY_AND_DROPOUT, False): Reported(89.2, 1.0),
    (AUXILIARY_AND_DROPOUT, True): Reported(91.2, 1.1),
}

# The digit classifier, fractions. The report gives neither a spread nor n.
CLASSIFIER_DIGITS = 0.955
CLASSIFIER_PAIRS = 0.97

# Figures 4 (without dropout) and 5 (with dropout), fractions: the medians of training digits,
# training target, test digits and test target. They were read off the printed figures by eye.
BOX_MEDIANS = {False: (0.983, 0.966, 0.951, 0.859), True: (0.986, 0.970, 0.959, 0.911)}

# Figures 2 (sharing off) and 3 (sharing on): mean test accuracy without dropout, a fraction, by
# auxiliary weight. They were read off by eye too, so they are good to about half a point.
AUX_WEIGHT_CURVES = {
    False: {0.0: 0.810, 0.1: 0.812, 0.5: 0.827, 1.0: 0.830, 3.0: 0.857, 10.0: 0.847, 100.0: 0.844, 1000.0: 0.847},
    True: {0.0: 0.835, 0.1: 0.831, 0.5: 0.845, 1.0: 0.854, 3.0: 0.855, 10.0: 0.862, 100.0: 0.844, 1000.0: 0.861},
}


def unlike_in_words(settings: Mapping[str, Any]) -> str:
    """Name the settings that differ from PROTOCOL; nothing if none does."""
    different = []
    for name, value in PROTOCOL.items():
        if settings.get(name, value) != value:
            different.append(f"{name.replace('_', ' ')} {settings[name]} instead of {value}")
    return ", ".join(different)
