"""Models that are functions: each seed is a generator, and one yield of it is one epoch."""
