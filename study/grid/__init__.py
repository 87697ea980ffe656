"""A grid file: read, checked and turned into cells."""

# Seeds from here on are those of confirmations. It is here so that --help does not import pydantic.
MAX_SEEDS = 1_000_000
