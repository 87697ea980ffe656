"""The grids that ship with the study, one YAML file each."""


def grid_names() -> list[str]:
    """Return their names, the smallest first."""
    return ["smoke", "table1", "protocol", "dropout-or-rate", "search", "full", "beyond"]
