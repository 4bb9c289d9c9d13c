"""Style that the figures share: colours, axes, titles with results, panels in rows."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ebm_cli.evaluation.result_registry import describe
from ebm_cli.evaluation.values import Values, format_value
from ebm_cli.reporting.figures.canvas import PANEL, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    Draw = Callable[[Axes], None]

DATA_COLOUR, MODEL_COLOUR, NOISE_COLOUR = "#1f4e79", "#c8553d", "#8a8a8a"
ENERGY_COLOURS = "viridis"


def density_colours() -> "Colormap":
    """Magma, perceptually uniform, from dark for high densities to the white of the paper for zero."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = colormaps["magma_r"](np.linspace(0, 1, 256))
    fade = np.clip(1 - np.linspace(0, 1, 256) / 0.2, 0, 1)[:, None] ** 1.5
    return ListedColormap(colours * (1 - fade) + fade)


LARGE = 10_000
"""Numbers from which tick labels have a prefix, 10k."""


def soften_axes(ax: "Axes") -> None:
    """Small ticks and thin grey spines."""
    ax.tick_params(labelsize=8, length=2, color="#999999", labelcolor="#666666")
    ax.locator_params(nbins=5)
    ax.ticklabel_format(useOffset=False)
    ax.spines[:].set(color="#bbbbbb", linewidth=0.6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_offset_text().set(size=8, color="#666666")


def few_ticks(axis: "Axis", ends: tuple[float, float]) -> None:
    """Tick labels that do not touch: few of them, 25k for 25000 and 0 for 0.0000."""
    from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(4))
    large = max(abs(end) for end in ends) >= LARGE
    axis.set_major_formatter(EngFormatter(sep="") if large else StrMethodFormatter("{x:g}"))


def title_with_result(title: str, values: Values, key: str) -> str:
    """The title, and below it the label and the value of a result if there is one."""
    value = values.get(key)
    return title if value is None else f"{title}\n{describe(key).label} {format_value(value)}"


def name_axes(ax: "Axes", names: Sequence[str] | None) -> None:
    """Label the axes by the names of one or two columns, if the data have any."""
    for axis, name in zip((ax.xaxis, ax.yaxis), names or (), strict=False):
        axis.set_label_text(plain_label(name), fontsize=9, color="#666666")


def plain_label(name: str, longest: int = 24) -> str:
    """A column's name as text for matplotlib, which would read formulas between dollar signs."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")


def with_share_outside(title: str, outside: float) -> str:
    """The title, with the share of points that the picture does not show, if it is 1 % or more."""
    return title if outside < 0.01 else f"{title}   {outside:.0%} outside"


def tile(rows_of_draws: "Sequence[Sequence[Draw]]") -> "Figure":
    """A figure of panels in rows; a row may be shorter than the others, and an empty one is left out."""
    rows = [row for row in rows_of_draws if row]
    width = max(len(row) for row in rows)
    figure = blank(PANEL * width, PANEL * 1.2 * len(rows))
    grid = figure.add_gridspec(len(rows), width)
    for i, row in enumerate(rows):
        for j, draw in enumerate(row):
            draw(figure.add_subplot(grid[i, j]))
    return figure
