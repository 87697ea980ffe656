"""Where version 0.1.0 had what ``trainables`` hands on now; models that import it here still run."""

from trainables.engine.examples import Examples, Split, split_examples

__all__ = ["Examples", "Split", "split_examples"]
