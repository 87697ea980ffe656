"""The grids that ship with the study, each in its own YAML file."""


def grid_names() -> list[str]:
    """Return their names: first what a newcomer runs, last what takes longest."""
    return ["smoke", "table1", "protocol", "dropout-or-rate", "search", "full", "beyond"]
