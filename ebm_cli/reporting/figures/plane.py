"""A model in two dimensions: densities, energy, score, data and samples over one window of the plane.

Axes are in the data's own units. Densities share one colour scale, fixed by the data's density where that is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn
from ebm_cli.evaluation.surface import ARROWS, MESH, Surface
from ebm_cli.evaluation.values import Values
from ebm_cli.evaluation.window import Window
from ebm_cli.reporting.figures.canvas import numpy_of
from ebm_cli.reporting.figures.style import (
    DATA_COLOUR,
    ENERGY_COLOURS,
    MODEL_COLOUR,
    density_colours,
    name_axes,
    soften_axes,
    tile,
    title_with_result,
    with_share_outside,
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
    frame = Frame(Window.around(rows), data.column_names)
    surface = Surface(energy, data, frame.window, log_z)
    panels: dict[str, Draw] = {"data": partial(draw_points, frame, rows, DATA_COLOUR, "data")}
    if samples is not None:
        points = numpy_of(samples).reshape(-1, 2)
        panels["samples"] = partial(draw_points, frame, points, MODEL_COLOUR, "model samples")
    if surface.data_density is not None:
        panels["data_density"] = partial(draw_density, frame, surface, surface.data_density, "data density")
    if surface.density is not None:
        title = title_with_result("model density", values, "eval/kl")
        panels["density"] = partial(draw_density, frame, surface, surface.density, title)
    panels["energy"] = partial(draw_energy, frame, surface, values)
    panels["score"] = partial(draw_score, frame, surface, title_with_result("score −∇f", values, "eval/fisher"))
    return panels


def plane_figure(panels: "dict[str, Draw]") -> "Figure":
    """The panels in the places of `LAYOUT`."""
    return tile([[panels[name] for name in names if name in panels] for names in LAYOUT])


def scatter_figure(points: NDArray[Any], rows: NDArray[Any] | None, names: Sequence[str] | None = None) -> "Figure":
    """Samples [N, 2], beside data rows [M, 2] if there are any, in the window of the rows.

    Args:
        points: samples.
        rows: of data.
        names: of the two columns.
    """
    frame = Frame(Window.around(points if rows is None else rows), names)
    samples = partial(draw_points, frame, points, MODEL_COLOUR, "model samples")
    if rows is None:
        return tile([[samples]])
    return tile([[partial(draw_points, frame, rows, DATA_COLOUR, "data"), samples]])


@dataclass(frozen=True)
class Frame:
    """The axes that all panels of a figure share: their window, and the names of the columns."""

    window: Window
    names: Sequence[str] | None = None

    def put(self, ax: "Axes", title: str) -> None:
        """Set limits, ticks and names; a panel is square, whatever the units along its sides."""
        ax.set(xlim=self.window.x.ends, ylim=self.window.y.ends)
        ax.set_box_aspect(1)
        ax.set_title(title, fontsize=10.5)
        soften_axes(ax)
        name_axes(ax, self.names)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top."""
        return (*self.window.x.ends, *self.window.y.ends)


def draw_points(frame: Frame, points: NDArray[Any], colour: str, title: str, ax: "Axes") -> None:
    """A scatter plot of the first of points [N, 2]; the title says which share of all is not in it."""
    frame.put(ax, with_share_outside(title, frame.window.share_outside(points)))
    shown = points[:SHOWN][np.isfinite(points[:SHOWN]).all(1)]
    ax.scatter(shown[:, 0], shown[:, 1], s=2.5, c=colour, alpha=0.35, linewidths=0, rasterized=True)


def draw_density(
    frame: Frame, surface: Surface, density: NDArray[Any], title: str, ax: "Axes", alpha: float = 1.0
) -> None:
    """A density of the surface as a share of its peak, in the colours that all of its densities share."""
    frame.put(ax, title)
    ax.imshow(
        density / surface.peak,
        origin="lower",
        extent=frame.corners,
        aspect="auto",
        cmap=density_colours(),
        vmin=0,
        vmax=1,
        interpolation="bilinear",
        alpha=alpha,
    )


def draw_energy(frame: Frame, surface: Surface, values: Values, ax: "Axes") -> None:
    """Contours of the energy above its minimum on the surface."""
    finite = np.isfinite(surface.energy)
    if not finite.any():
        frame.put(ax, "energy: not finite anywhere here")
        return
    above = np.ma.masked_where(~finite, surface.energy - surface.energy[finite].min())
    # Deep enough to show the barriers, not so deep that the far walls take all the colours.
    step = max(float(np.round(np.quantile(above.compressed(), 0.7) / LEVELS)), 1.0)
    levels = step * np.arange(LEVELS + 1)
    title = f"energy, 0 to {levels[-1]:{'.0f' if levels[-1] < 1e6 else '.3g'}} nats"
    frame.put(ax, title_with_result(title, values, "eval/log_z"))
    x, y = surface.window.x.ticks(MESH), surface.window.y.ticks(MESH)
    ax.contourf(x, y, above, levels=levels, cmap=ENERGY_COLOURS, extend="max")
    ax.contour(x, y, above, levels=levels[1:], colors="white", linewidths=0.35, alpha=0.5)


def draw_score(frame: Frame, surface: Surface, title: str, ax: "Axes") -> None:
    """Arrows of the score over the density, if there is one."""
    if surface.density is None:
        frame.put(ax, title)
    else:
        draw_density(frame, surface, surface.density, title, ax, alpha=0.45)
    # In units of the panel, where both axes are alike: x = half · z, so that ∇_z = half · ∇_x.
    score = surface.score * [surface.window.x.half, surface.window.y.half]
    score = np.where(np.isfinite(score).all(1, keepdims=True), score, 0.0)
    length = np.linalg.norm(score, axis=1, keepdims=True)
    # Lengths span decades: compressed by a logarithm, direction and order of magnitude both stay visible.
    arrows = score / np.maximum(length, 1e-12) * np.log1p(2 * length / max(float(np.median(length)), 1e-12))
    arrows *= 0.9 / ARROWS / np.abs(arrows).max().clip(min=1e-12)
    side = (np.arange(ARROWS) + 0.5) / ARROWS
    ax.quiver(
        np.tile(side, ARROWS),
        np.repeat(side, ARROWS),
        *arrows.T,
        transform=ax.transAxes,
        angles="uv",
        scale_units="width",
        scale=1,
        pivot="mid",
        color="#2b2b2b",
        width=0.0035,
        headwidth=4,
        headlength=4.5,
        headaxislength=4,
    )
