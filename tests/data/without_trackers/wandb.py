"""Hides wandb from the programs that tests start: Ray imports it in every run, which takes seconds, to count it."""

raise ImportError("hidden from tests that do not need it")
