"""Samples in more than two dimensions: the first coordinates in pairs."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ebm_cli.reporting.figures.canvas import blank
from ebm_cli.reporting.figures.line import draw_histograms
from ebm_cli.reporting.figures.style import DATA_COLOUR, MODEL_COLOUR, soften_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 1500
"""Points in a scatter plot, at most."""


def pair_figure(points: NDArray[Any], rows: NDArray[Any] | None, n: int = 4) -> "Figure":
    """Histograms of the first n coordinates on the diagonal, scatter plots of their pairs below it.

    Args:
        points: samples [N, D], D > 1.
        rows: of data [M, D], if there are any.
        n: coordinates, at most.
    """
    n = min(n, points.shape[1])
    figure = blank(1.5 * n + 0.5, 1.5 * n + 0.5)
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
                if i == 0:
                    figure.legend(*ax.get_legend_handles_labels(), loc="upper right", fontsize=9, frameon=False)
                ax.get_legend().remove()
            else:
                _draw_pair(ax, points, rows, i, j)
            ax.set_box_aspect(1)
            if i == n - 1:
                ax.set_xlabel(f"x{j + 1}", fontsize=8)
            if j == 0 and i:
                ax.set_ylabel(f"x{i + 1}", fontsize=8)
    return figure


def _draw_pair(ax: "Axes", points: NDArray[Any], rows: NDArray[Any] | None, i: int, j: int) -> None:
    for values, colour in ((rows, DATA_COLOUR), (points, MODEL_COLOUR)):
        if values is not None:
            ax.scatter(values[:SHOWN, j], values[:SHOWN, i], s=2, c=colour, alpha=0.3, linewidths=0)
    soften_axes(ax)
    ax.tick_params(labelleft=j == 0)
