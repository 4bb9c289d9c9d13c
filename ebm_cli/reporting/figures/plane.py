"""A model in two dimensions: densities, energy, score, data and samples over one window of the plane.

Axes are in the data's own units. Densities share one colour scale, fixed by the data's density where that is known.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn
from ebm_cli.evaluation.surface import ARROWS, MESH, Surface, Window
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.figures.canvas import numpy_of
from ebm_cli.reporting.figures.style import (
    DATA_COLOUR,
    ENERGY_COLOURS,
    MODEL_COLOUR,
    density_colours,
    soften_axes,
    tile,
    title_with_result,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ebm_cli.reporting.figures.style import Draw

LAYOUT = (("data", "data_density", "energy"), ("samples", "density", "score"))
"""Names of panels, the data above the model."""
SHOWN = 4000
"""Points in a scatter plot, at most."""
LEVELS = 14
"""Contours of the energy."""


def plane_panels(
    energy: EnergyFn,
    data: Dataset,
    samples: Tensor | None,
    log_z: float | None,
    results: Values | None = None,
    n_rows: int = 10_000,
) -> "dict[str, Draw]":
    """The panels of a model in two dimensions: name → function that draws it on axes.

    Args:
        energy: f(u), standardised units.
        data: the data set.
        samples: from the model, data units [N, 2]; None leaves the panel out.
        log_z: in standardised units; None leaves the panel of the density out.
        results: keys of results.json, for the titles.
        n_rows: held-out rows to show.
    """
    values = results or {}
    rows = numpy_of(data.held_out(n_rows)).reshape(-1, 2)
    window = Window.around(rows)
    surface = Surface(energy, data, window, log_z)
    panels: dict[str, Draw] = {"data": partial(draw_points, window, rows, DATA_COLOUR, "data")}
    if samples is not None:
        points = numpy_of(samples).reshape(-1, 2)
        panels["samples"] = partial(draw_points, window, points, MODEL_COLOUR, "model samples")
    if surface.data_density is not None:
        panels["data_density"] = partial(draw_density, surface, surface.data_density, "data density")
    if surface.density is not None:
        title = title_with_result("model density", values, "eval/kl")
        panels["density"] = partial(draw_density, surface, surface.density, title)
    panels["energy"] = partial(draw_energy, surface, values)
    panels["score"] = partial(draw_score, surface, title_with_result("score −∇f", values, "eval/fisher"))
    return panels


def plane_figure(panels: "dict[str, Draw]") -> "Figure":
    """The panels in the places of `LAYOUT`."""
    return tile([[panels[name] for name in names if name in panels] for names in LAYOUT])


def scatter_figure(points: NDArray[Any], rows: NDArray[Any] | None) -> "Figure":
    """Samples [N, 2], beside data rows [M, 2] if there are any."""
    window = Window.around(points if rows is None else rows)
    samples = partial(draw_points, window, points, MODEL_COLOUR, "model samples")
    if rows is None:
        return tile([[samples]])
    return tile([[partial(draw_points, window, rows, DATA_COLOUR, "data"), samples]])


def draw_points(window: Window, points: NDArray[Any], colour: str, title: str, ax: "Axes") -> None:
    """A scatter plot of the first of points [N, 2]."""
    _frame(ax, window, title)
    ax.scatter(points[:SHOWN, 0], points[:SHOWN, 1], s=2.5, c=colour, alpha=0.35, linewidths=0, rasterized=True)


def draw_density(surface: Surface, density: NDArray[Any], title: str, ax: "Axes", alpha: float = 1.0) -> None:
    """A density of the surface, in the colours that all of its densities share."""
    _frame(ax, surface.window, title)
    x, y = surface.window.ticks(MESH)
    ax.imshow(
        density,
        origin="lower",
        extent=(x[0], x[-1], y[0], y[-1]),
        cmap=density_colours(),
        vmin=0,
        vmax=surface.peak,
        interpolation="bilinear",
        alpha=alpha,
    )


def draw_energy(surface: Surface, values: Values, ax: "Axes") -> None:
    """Contours of the energy above its minimum on the surface."""
    above = surface.energy - surface.energy.min()
    # Deep enough to show the barriers, not so deep that the far walls take all the colours.
    step = max(round(float(np.quantile(above, 0.7)) / LEVELS), 1)
    levels = step * np.arange(LEVELS + 1)
    title = f"energy, 0 to {levels[-1]} nats"
    _frame(ax, surface.window, title_with_result(title, values, "eval/log_z"))
    x, y = surface.window.ticks(MESH)
    ax.contourf(x, y, above, levels=levels, cmap=ENERGY_COLOURS, extend="max")
    ax.contour(x, y, above, levels=levels[1:], colors="white", linewidths=0.35, alpha=0.5)


def draw_score(surface: Surface, title: str, ax: "Axes") -> None:
    """Arrows of the score over the density, if there is one."""
    if surface.density is None:
        _frame(ax, surface.window, title)
    else:
        draw_density(surface, surface.density, title, ax, alpha=0.45)
    x, y = surface.window.ticks(ARROWS)
    score = surface.score
    length = np.linalg.norm(score, axis=1, keepdims=True)
    # Lengths span decades: compressed by a logarithm, direction and order of magnitude both stay visible.
    arrows = score / np.maximum(length, 1e-12) * np.log1p(2 * length / max(float(np.median(length)), 1e-12))
    arrows *= 0.9 * (2 * surface.window.half / ARROWS) / np.abs(arrows).max().clip(min=1e-12)
    ax.quiver(
        np.tile(x, ARROWS),
        np.repeat(y, ARROWS),
        *arrows.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        color="#2b2b2b",
        width=0.0035,
        headwidth=4,
        headlength=4.5,
        headaxislength=4,
    )


def _frame(ax: "Axes", window: Window, title: str) -> None:
    """Square axes over the window."""
    (x, y), half = window.centre, window.half
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    ax.set_title(title, fontsize=9)
    soften_axes(ax)
