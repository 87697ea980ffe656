"""The figures of any study: a pure ``*_data``, a ``draw_*`` on axes, and a ``*_picture``."""
