"""The figures: for each a pure ``*_data`` and a ``draw_*`` that puts its result on axes."""
