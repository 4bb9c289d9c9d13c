"""Drawings for the page of a comparison: quality against cost, and bare panels; without torch."""

import base64
import io
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = (
    *("#3b78c2", "#d9663f", "#3a9e6e", "#9a6fc4", "#c9982b"),
    *("#c2588f", "#4aa5b5", "#8a7a52", "#6d7f96", "#a8503c"),
)
"""Distinct on white and on near-black; more groups than these share one, and differ by their mark."""
MARKS = ("o", "s", "^", "D", "v")
_INK = "#010203"
"""Placeholder for the page's text colour, which is dark on light or light on dark."""
_THEME = "<style>svg{color:#55534e}@media(prefers-color-scheme:dark){svg{color:#b5b2aa}}</style>"


class Cloud(NamedTuple):
    """The runs of a group: cost and quality of each, and the number of their colour and mark."""

    label: str
    number: int
    points: Sequence[tuple[float, float]]


def quality_against_cost(clouds: Sequence[Cloud], x_name: str, y_name: str, log_y: bool) -> str:
    """A chart with a point for every run and a large one for every group's mean, with bars of one sd: an SVG that
    follows the page's theme.

    Args:
        clouds: the groups, of which one must have a point with a cost above zero; those without points are left out.
        x_name, y_name: the axes. Cost is logarithmic, with zero at its left edge.
        log_y: whether the axis of quality is logarithmic too, if every quality is positive.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(4.6, 3.3), layout="constrained", facecolor="none")
    ax = figure.subplots()
    ax.set_facecolor("none")
    points = [point for cloud in clouds for point in cloud.points]
    costs, qualities = [x for x, _ in points if x > 0], [y for _, y in points]
    log_y = log_y and min(qualities) > 0
    for cloud in clouds:
        if cloud.points:
            _draw_cloud(ax, cloud, log_y)
    if len(costs) < len(points):
        ax.set_xscale("symlog", linthresh=min(costs) / 2, linscale=0.4)
        ax.set_xticks([0.0, *_ticks(min(costs), max(costs))])
        ax.minorticks_off()
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    else:
        ax.set_xscale("log")
        _label_plainly(ax.xaxis, costs)
    if log_y:
        ax.set_yscale("log")
        _label_plainly(ax.yaxis, qualities)
    ax.set_xlabel(x_name, color=_INK)
    ax.set_ylabel(y_name, color=_INK)
    ax.margins(0.12)
    ax.tick_params(which="both", color=_INK, labelcolor=_INK, labelsize=8, width=0.6)
    ax.grid(color=_INK, alpha=0.13, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=_INK, linewidth=0.6)
    return _svg(figure)


def _draw_cloud(ax: "Axes", cloud: Cloud, log_y: bool) -> None:
    colour, mark = COLOURS[cloud.number % len(COLOURS)], MARKS[cloud.number // len(COLOURS) % len(MARKS)]
    xs, ys = ([point[i] for point in cloud.points] for i in (0, 1))
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    ax.scatter(xs, ys, s=16, c=colour, marker=mark, alpha=0.45, linewidths=0)
    if len(xs) > 1:
        bars = [
            # On a logarithmic axis zero is at infinity: a bar that reaches it ends a little above.
            [[min(sd, 0.9 * mean) if log else sd], [sd]]
            for mean, sd, log in ((x, statistics.stdev(xs), x > 0), (y, statistics.stdev(ys), log_y))
        ]
        look: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 1.1, "alpha": 0.8}
        ax.errorbar([x], [y], xerr=bars[0], yerr=bars[1], **look)
    ax.scatter([x], [y], s=75, c=colour, marker=mark, edgecolors="white", linewidths=1.1, zorder=3)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from a little below `low` > 0 to a little above `high`: 1-2-5, or decades if there are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    near = [m * 10.0**k for k in decades for m in (1, 2, 5) if 0.7 * low <= m * 10.0**k <= 1.4 * high]
    return near if len(near) <= 6 else [10.0**k for k in decades if 0.5 * low <= 10.0**k <= 2 * high]


def _even_ticks(low: float, high: float) -> list[float]:
    """Three to six multiples of a round step, around low ≤ high."""
    from matplotlib.ticker import MaxNLocator

    room = max(0.1 * (high - low), 0.02 * high)
    return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low - room, high + room)]


def _label_plainly(axis: "Axis", values: Sequence[float]) -> None:
    """Label a logarithmic axis with decimal numbers; no tick is without a label."""
    from matplotlib.ticker import NullLocator

    low, high = min(values), max(values)
    ticks = [tick for tick in (_even_ticks if high < 5 * low else _ticks)(low, high) if tick > 0]
    axis.set_ticks(ticks, labels=[f"{tick:.6g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _svg(figure: "Figure") -> str:
    """The figure as one SVG element, without background and metadata."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "ebm"}):
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue()[out.getvalue().index("<svg") :], flags=re.DOTALL)
    head, close, body = text.replace(_INK, "currentColor").partition(">")
    return head + close + _THEME + body


def bare_png(draw: Callable[["Axes"], None], pixels: int = 320) -> bytes:
    """A drawing on a square without title and axes, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 2), dpi=pixels / 2)
    ax = figure.add_axes((0, 0, 1, 1))
    draw(ax)
    ax.set_title("")
    ax.set_axis_off()
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()


def data_uri(content: bytes | str) -> str:
    """A PNG or an SVG as an address that contains it, so that a page needs no other file."""
    kind, raw = ("svg+xml", content.encode()) if isinstance(content, str) else ("png", content)
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"


def number_labels(labels: Sequence[str]) -> Mapping[str, int]:
    """A number for each label, in order of appearance: it chooses the colour and the mark."""
    return {label: i for i, label in enumerate(dict.fromkeys(labels))}
