"""A grid file: read, checked and turned into cells."""

MAX_SEEDS = 1_000_000  # of a study; from here on they are those of confirmations. Here, so that --help is quick
