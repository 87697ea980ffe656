"""The figures of any study. Each has a pure ``*_data`` and a ``draw_*`` that draws its result on axes."""
