"""The report's networks on a CPU core, compiled by numba: a whole step, and an evaluation (docs/decisions/0008)."""
