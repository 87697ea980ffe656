"""Which other studies of a storage the course report draws on."""

from analysis.load import StudyData

CROSSED_GRID = "dropout-or-rate"  # crosses dropout with the learning rate
# A run appends the data source to a study's name, but for this one.
DEFAULT_SOURCE = "mnist5k"


def crossed_study(data: StudyData) -> str:
    """Return the name that a run gives to the study of CROSSED_GRID on the same data as a study."""
    source = data.info.protocol.get("data", DEFAULT_SOURCE)
    return CROSSED_GRID if source == DEFAULT_SOURCE else f"{CROSSED_GRID}-{source}"
