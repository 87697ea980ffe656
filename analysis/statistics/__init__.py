"""Intervals, cells, selection, contrasts, effects, looks and power: data in, numbers and tables out."""
