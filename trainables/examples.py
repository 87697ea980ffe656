"""Where version 0.1.0 had these; models that import them here still run."""

from trainables.engine.examples import Examples, Split, split_examples

__all__ = ["Examples", "Split", "split_examples"]
