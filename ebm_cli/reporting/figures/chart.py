"""Charts with one message, readable at the width of a phone: large letters, few ticks, and a white ground of their own.

Colours are those of Okabe & Ito (2008), distinct for colour-blind eyes; every series has a mark of its own, too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ebm_cli.reporting.figures.canvas import blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
INK, PALE = "#222222", "#8a8a8a"


def empty_chart() -> "Figure":
    """An empty figure of 780 by 570 pixels."""
    return blank(5.2, 3.8)


def style_axes(ax: "Axes", title: str, x: str, y: str) -> None:
    """Title, labels with units, a light grid. Call it after the scales are set."""
    ax.set_title(title, fontsize=11.5, color=INK, loc="left", wrap=True)
    ax.set_xlabel(x, fontsize=10.5, color=INK)
    ax.set_ylabel(y, fontsize=10.5, color=INK)
    ax.tick_params(labelsize=9.5, colors=INK, length=3)
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=PALE, linewidth=0.8)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=9.5, frameon=False, labelcolor=INK)


def points(ax: "Axes", number: int, x: Sequence[float], y: Sequence[float], label: str, **more: Any) -> None:
    """Measured values: marks joined by a line, in the colour and mark of a series."""
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    style: dict[str, Any] = {"color": colour, "marker": mark, "markersize": 6, "linewidth": 1.6, "label": label}
    ax.plot(x, y, **(style | more))


def theory(ax: "Axes", x: Sequence[float], y: Sequence[float], label: str, **more: Any) -> None:
    """A closed form: a dashed line without marks."""
    style: dict[str, Any] = {"color": INK, "linestyle": "--", "linewidth": 1.3, "label": label}
    ax.plot(x, y, **(style | more))


def label_plainly(ax: "Axes", x: Sequence[float] | None = None, y: Sequence[float] | None = None) -> None:
    """Ticks of logarithmic axes at the given values, as decimal numbers."""
    from matplotlib.ticker import NullFormatter

    for axis, ticks in ((ax.xaxis, x), (ax.yaxis, y)):
        if ticks is not None:
            axis.set_ticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
            axis.set_minor_formatter(NullFormatter())
