"""A model in one dimension: histograms of data and samples with the densities, and the energy beside them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn
from ebm_cli.evaluation.surface import data_density_at, density_of, energy_at
from ebm_cli.evaluation.values import Values
from ebm_cli.evaluation.window import Interval
from ebm_cli.reporting.figures.canvas import PANEL, blank, numpy_of
from ebm_cli.reporting.figures.style import (
    DATA_COLOUR,
    MODEL_COLOUR,
    name_axes,
    soften_axes,
    title_with_result,
    with_share_outside,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 800
"""Points of a curve."""


def line_figure(
    energy: EnergyFn,
    data: Dataset,
    samples: Tensor | None,
    log_z: float | None,
    results: Values | None = None,
    n_rows: int = 10_000,
) -> "Figure":
    """Densities over histograms on the left, the energy above its minimum on the right.

    Args: as of `plane.plane_panels`.
    """
    values = results or {}
    rows = numpy_of(data.held_out(n_rows)).reshape(-1)
    figure = blank(3.4 * PANEL, PANEL * 1.2)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.4, 1]})
    draw_histograms(left, None if samples is None else numpy_of(samples).reshape(-1), rows)
    low, high = left.get_xlim()
    x = torch.linspace(low, high, POINTS, dtype=torch.float64)
    f, truth = energy_at(energy, data, x), data_density_at(data, x)
    finite = np.isfinite(f)
    if truth is not None:
        left.plot(x.numpy(), truth, color=DATA_COLOUR, lw=1.4, label="data density")
    if log_z is not None:
        left.plot(x.numpy(), density_of(f, data, log_z), color=MODEL_COLOUR, lw=1.4, label="model density")
    left.legend(fontsize=8, frameon=False)
    left.set_title(title_with_result("density", values, "eval/kl"), fontsize=10.5)
    if finite.any():
        right.plot(x.numpy()[finite], f[finite] - f[finite].min(), color=MODEL_COLOUR, lw=1.4)
    right.set_title(title_with_result("energy above its minimum, nats", values, "eval/log_z"), fontsize=10.5)
    right.set_xlim(*left.get_xlim())
    soften_axes(right)
    for ax in (left, right):
        name_axes(ax, data.column_names)
    return figure


def histogram_figure(points: NDArray[Any], rows: NDArray[Any] | None, names: Sequence[str] | None = None) -> "Figure":
    """Histograms of samples [N], over data rows [M] if there are any; `names` holds that of the column."""
    figure = blank(1.6 * PANEL, PANEL)
    ax = figure.subplots()
    draw_histograms(ax, points, rows)
    name_axes(ax, names)
    return figure


def draw_histograms(ax: "Axes", samples: NDArray[Any] | None, rows: NDArray[Any] | None) -> None:
    """Histograms of samples and rows, one of which must be there, in the window of the rows if there are any."""
    known = [values for values in (rows, samples) if values is not None]
    window = Interval.around(known[0])
    bins = np.linspace(*window.ends, 61)
    for values, colour, label in ((rows, DATA_COLOUR, "data"), (samples, MODEL_COLOUR, "model samples")):
        if values is not None:
            # Normalised by all values, so that a bar outside the window is mass missing, not mass moved.
            finite = values[np.isfinite(values)]
            weights = np.full(len(finite), 1 / (len(values) * (bins[1] - bins[0])))
            label = with_share_outside(label, window.share_outside(values))
            ax.hist(finite, bins=bins.tolist(), weights=weights, color=colour, alpha=0.35, label=label)
    ax.set_xlim(bins[0], bins[-1])
    ax.legend(fontsize=8, frameon=False)
    soften_axes(ax)
