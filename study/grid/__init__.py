"""A grid file: read, checked and turned into cells."""

# Seeds from here on are those of confirmations. It is here so that --help does not import pydantic.
MAX_SEEDS = 1_000_000
# What a plan of some seconds can hold. A file of this size is as much as PyYAML reads in that time.
MOST_CELLS = 10_000
MOST_TRIALS = 200_000
MOST_CONDITIONS = 300
MOST_BYTES = 300_000
