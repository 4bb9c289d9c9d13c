"""Histograms of the energies of training rows, held-out rows and noise: does the model memorise its training rows?"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ebm_cli.reporting.figures.canvas import PANEL, blank, numpy_of
from ebm_cli.reporting.figures.style import DATA_COLOUR, MODEL_COLOUR, NOISE_COLOUR, soften_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def energies_figure(energies: Mapping[str, Tensor]) -> "Figure":
    """Histograms of the energies of several sets of rows in one picture.

    The title is the mean of the second set minus that of the first, with its standard error. The axis holds these two;
    labels say which share of the others is outside.

    Args:
        energies: name of a set → f of its rows [N], nats; training rows first, held-out rows second.
    """
    numbers = {name: numpy_of(f) for name, f in energies.items()}
    values = {name: f[np.isfinite(f)] for name, f in numbers.items() if np.isfinite(f).any()}
    figure = blank(2.2 * PANEL, 1.2 * PANEL)
    ax = figure.subplots()
    soften_axes(ax)
    ax.set_xlabel("energy f, nats", fontsize=9)
    if not values:
        ax.set_title("no energy is finite", fontsize=10.5)
        return figure
    rows, everything = np.concatenate(list(values.values())[:2]), np.concatenate(list(values.values()))
    bottom, top = (float(q) for q in np.quantile(rows, [0.002, 0.998]))
    reach = max(top - bottom, 1e-6 * max(1.0, abs(top)))
    # Noise may lie so far away that the rows would be one bar: the axis extends only a little in its direction.
    low = max(float(np.quantile(everything, 0.002)), bottom - 2 * reach) - 0.05 * reach
    high = min(float(np.quantile(everything, 0.998)), top + 2 * reach) + 0.05 * reach
    bins = np.linspace(low, high, 41)
    for (name, f), colour in zip(values.items(), (DATA_COLOUR, MODEL_COLOUR, NOISE_COLOUR), strict=False):
        outside = float(np.mean((f < low) | (f > high)))
        label = name if outside < 0.01 else f"{name} ({outside:.0%} outside)"
        weights = np.full(len(f), 1 / (len(f) * (bins[1] - bins[0])))
        ax.hist(f, bins=bins.tolist(), weights=weights, histtype="stepfilled", alpha=0.2, color=colour)
        ax.hist(f, bins=bins.tolist(), weights=weights, histtype="step", color=colour, lw=1.2, label=label)
    ax.set_xlim(low, high)
    ax.set_yticks([])
    ax.legend(fontsize=8, frameon=False)
    if len(values) > 1:
        (first, f), (second, g) = list(values.items())[:2]
        gap, error = float(g.mean() - f.mean()), math.sqrt(f.var() / len(f) + g.var() / len(g))
        ax.set_title(f"mean energy, {second} minus {first}: {gap:+.3g} ± {error:.2g} nats", fontsize=10.5)
    return figure
