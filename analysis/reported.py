"""The numbers of the report that this project is compared with."""

from dataclasses import dataclass

ROUNDS = 10


@dataclass(frozen=True)
class Reported:
    """A test accuracy of the report: mean and unbiased standard deviation over ``n`` rounds, in percent."""

    mean: float
    std: float
    n: int = ROUNDS


AUXILIARY_OFF, AUXILIARY_ON, AUXILIARY_AND_DROPOUT = "auxiliary off", "auxiliary on", "auxiliary on + dropout"
ROWS = (AUXILIARY_OFF, AUXILIARY_ON, AUXILIARY_AND_DROPOUT)

# Table I by row and sharing.
TABLE1 = {
    (AUXILIARY_OFF, False): Reported(80.7, 1.1),
    (AUXILIARY_OFF, True): Reported(83.9, 0.6),
    (AUXILIARY_ON, False): Reported(85.1, 1.8),
    (AUXILIARY_ON, True): Reported(86.0, 1.5),
    (AUXILIARY_AND_DROPOUT, False): Reported(89.2, 1.0),
    (AUXILIARY_AND_DROPOUT, True): Reported(91.2, 1.1),
}

# Figures 2 (sharing off) and 3 (sharing on): mean test accuracy in percent by auxiliary weight, without dropout, read
# off by eye: good to about half a point.
AUX_WEIGHT_CURVES = {
    False: {0.0: 81.0, 0.1: 81.2, 0.5: 82.7, 1.0: 83.0, 3.0: 85.7, 10.0: 84.7, 100.0: 84.4, 1000.0: 84.7},
    True: {0.0: 83.5, 0.1: 83.1, 0.5: 84.5, 1.0: 85.4, 3.0: 85.5, 10.0: 86.2, 100.0: 84.4, 1000.0: 86.1},
}
