"""What all figures share: colours, line styles and marks. No other module names a colour."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike


class Style(NamedTuple):
    """How one series is drawn: matplotlib's colour, marker and line style."""

    colour: str
    marker: str
    line: Any


# The colours of Okabe and Ito ("Color Universal Design", 2008), which the colour-blind can
# tell apart. Markers and line styles tell the series apart in grey too.
STYLES = (
    Style("#0072B2", "o", "-"),
    Style("#D55E00", "s", "--"),
    Style("#009E73", "^", "-."),
    Style("#CC79A7", "D", ":"),
    Style("#E69F00", "v", (0, (5, 1, 1, 1, 1, 1))),
    Style("#56B4E9", "P", (0, (8, 2))),
)
# For cells in an order: its lightness rises, so the order shows in grey too.
RAMP = matplotlib.colormaps["viridis"]

GREY = "#767676"  # what the rest is compared with: printed numbers, the line of no effect
DARK_GREY = "#555555"
LIGHT_GREY = "#EEEEEE"
BLACK = "#000000"
# Backgrounds of boxes; black text on them has more than enough contrast.
WHITE = "#FFFFFF"
PALE_BLUE = "#D6E9F5"
PALE_ORANGE = "#FBE3D3"

# Keyword arguments of matplotlib that several figures share.
GRID: dict[str, Any] = {"linewidth": 0.4, "alpha": 0.6}
LEGEND_ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
LEGEND_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
LEGEND_TEXT: dict[str, Any] = {"ncols": 2, "fontsize": 8, "frameon": False}

# Mean, and low and high end of an interval, in the unit of the axis.
Triple = tuple[float, float, float]


def draw_estimates(estimates: Sequence[Triple], places: ArrayLike, style: Style, label: str, ax: Axes) -> None:
    """Draw means with horizontal bars for their intervals, at places on the vertical axis."""
    mean, low, high = np.transpose(estimates)
    bars = (mean - low, high - mean)
    look: dict[str, Any] = {"color": style.colour, "markersize": 5, "capsize": 3, "elinewidth": 1.2}
    ax.errorbar(mean, places, xerr=bars, fmt=style.marker, **look, label=label)
