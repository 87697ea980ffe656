"""Intervals, cells, selection, effects, confirmation and differences: data in, numbers and tables out."""
