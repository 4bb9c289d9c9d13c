"""Samples in more than two dimensions: the first coordinates in pairs."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ebm_cli.evaluation.window import Interval
from ebm_cli.reporting.figures.canvas import blank
from ebm_cli.reporting.figures.line import draw_histograms
from ebm_cli.reporting.figures.style import DATA_COLOUR, MODEL_COLOUR, few_ticks, plain_label, soften_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND: dict[str, Any] = {"loc": "upper right", "fontsize": 9, "frameon": False}
SHOWN = 1500
"""Points in a scatter plot, at most."""


def pair_figure(
    points: NDArray[Any], rows: NDArray[Any] | None, names: Sequence[str] | None = None, n: int = 4
) -> "Figure":
    """Histograms of the first n coordinates on the diagonal, scatter plots of their pairs below it.

    Every column has its own axis, which is that of the data if there are any.

    Args:
        points: samples [N, D], D > 1.
        rows: of data [M, D], if there are any.
        names: of the columns; None for x1, x2, ….
        n: coordinates, at most.
    """
    dim, n = points.shape[1], min(n, points.shape[1])
    labels = [plain_label(names[j], 16) if names else f"x{j + 1}" for j in range(n)]
    intervals = [Interval.around((points if rows is None else rows)[:, j]) for j in range(n)]
    figure = blank(1.5 * n + 0.5, 1.5 * n + 0.5)
    if n < dim:
        figure.suptitle(f"the first {n} of {dim} columns", x=0.02, ha="left", fontsize=9)
    axes = figure.subplots(n, n, sharex="col")
    for i in range(n):
        for j in range(n):
            ax = axes[i, j]
            if j > i:
                ax.set_visible(False)
                continue
            if i == j:
                draw_histograms(ax, points[:, i], None if rows is None else rows[:, i])
                ax.set_yticks([])
                handles, shown = ax.get_legend_handles_labels()
                if i == 0:
                    figure.legend(handles, [name.partition("   ")[0] for name in shown], **LEGEND)
                outside = [name.partition("   ")[2] for name in shown]
                ax.set_title("".join(outside[-1:]), fontsize=7, color=MODEL_COLOUR)
                ax.get_legend().remove()
            else:
                _draw_pair(ax, points, rows, i, j)
                ax.set_ylim(*intervals[i].ends)
            ax.set_xlim(*intervals[j].ends)
            ax.set_box_aspect(1)
            if i == n - 1:
                ax.set_xlabel(labels[j], fontsize=8)
            if j == 0 and i:
                ax.set_ylabel(labels[i], fontsize=8)
    # Last, because axes of a column share their ticks, and drawing sets them.
    for i, j in itertools.product(range(n), range(n)):
        few_ticks(axes[i, j].xaxis, intervals[j].ends)
        if i > j:
            few_ticks(axes[i, j].yaxis, intervals[i].ends)
    return figure


def _draw_pair(ax: "Axes", points: NDArray[Any], rows: NDArray[Any] | None, i: int, j: int) -> None:
    for values, colour in ((rows, DATA_COLOUR), (points, MODEL_COLOUR)):
        if values is not None:
            pair = values[:SHOWN, [j, i]]
            pair = pair[np.isfinite(pair).all(1)]
            ax.scatter(pair[:, 0], pair[:, 1], s=2, c=colour, alpha=0.3, linewidths=0)
    soften_axes(ax)
    ax.tick_params(labelleft=j == 0)
