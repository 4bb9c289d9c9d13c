"""Pictures of a model beside its data. Each function returns a Figure.

Axes are in the data's own units, densities are per unit of area there: p_x(x) = p_u(u) / Π scale. Pictures of densities
share one colour scale, fixed by the data's density where that is known.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn, value_and_grad
from ebm_cli.evaluation.batched import in_chunks, placement
from ebm_cli.evaluation.expectation import reference_copy
from ebm_cli.evaluation.values import Value, format_value
from ebm_cli.reporting.figure import PANEL, Array, blank, numpy_of
from ebm_cli.reporting.image_grids import COLUMNS, NEIGHBOURS, images_figure, is_image, nearest_training_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

LAYOUT = (("data", "data_density", "energy"), ("samples", "density", "score"))  # the data above the model


ENERGY_COLOURS = "viridis"
DATA_COLOUR, MODEL_COLOUR, NOISE_COLOUR = "#1f4e79", "#c8553d", "#8a8a8a"
MESH = 240  # points along a side of a surface
ARROWS = 22  # arrows along a side of the score field
SHOWN = 4000  # points in a scatter plot
LEVELS = 14  # contours of the energy


def final_figure(
    energy: EnergyFn,
    data: Dataset,
    samples: Tensor | None = None,
    log_z: float | None = None,
    results: Mapping[str, Value] | None = None,
    n_rows: int = 10_000,
) -> "Figure":
    """Everything about a model in one picture, whatever the shape of its data.

    Args:
        energy: f(u), standardised units.
        data: the data set.
        samples: from the model, data units [N, *shape].
        log_z: in standardised units; without it there is no density to draw.
        results: keys of results.json, for the titles.
        n_rows: held-out rows to show.
    """
    dim = math.prod(data.shape)
    if dim == 2:
        drawn = panels(energy, data, samples, log_z, results, n_rows)
        return _tiled([[drawn[name] for name in names if name in drawn] for names in LAYOUT])
    if dim == 1:
        return _figure_1d(energy, data, samples, log_z, results or {}, n_rows)
    rows = data.held_out(n_rows)
    if samples is None or not is_image(data.shape):
        return samples_figure(rows if samples is None else samples, rows)
    return samples_figure(samples, rows, nearest_training_rows(samples[: NEIGHBOURS * COLUMNS], data))


def energies_figure(energies: Mapping[str, Tensor]) -> "Figure":
    """Histograms of the energies of several sets of rows in one picture: whether a model knows its training rows apart.

    The title is the mean of the second set minus that of the first, with its standard error. The axis holds these two;
    what of the others is outside, their labels say.

    Args:
        energies: what the rows are → f of each [N], nats; training rows first, held-out rows second.
    """
    numbers = {name: numpy_of(f) for name, f in energies.items()}
    values = {name: f[np.isfinite(f)] for name, f in numbers.items() if np.isfinite(f).any()}
    figure = blank(2.2 * PANEL, 1.2 * PANEL)
    ax = figure.subplots()
    _quiet(ax)
    ax.set_xlabel("energy f, nats", fontsize=8)
    if not values:
        ax.set_title("no energy is finite", fontsize=9)
        return figure
    rows, everything = np.concatenate(list(values.values())[:2]), np.concatenate(list(values.values()))
    bottom, top = (float(q) for q in np.quantile(rows, [0.002, 0.998]))
    reach = max(top - bottom, 1e-6)
    # Noise may lie so far away that the rows would be one bar: the axis goes a little in its direction.
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
    ax.legend(fontsize=7, frameon=False)
    if len(values) > 1:
        (first, f), (second, g) = list(values.items())[:2]
        gap, error = float(g.mean() - f.mean()), math.sqrt(f.var() / len(f) + g.var() / len(g))
        ax.set_title(f"mean energy, {second} minus {first}: {gap:+.3g} ± {error:.2g} nats", fontsize=9)
    return figure


def panels(
    energy: EnergyFn,
    data: Dataset,
    samples: Tensor | None,
    log_z: float | None,
    results: Mapping[str, Value] | None,
    n_rows: int,
) -> dict[str, Callable[["Axes"], None]]:
    """The panels of `final_figure` for a model in two dimensions: name → what draws it."""
    results = results or {}
    rows = numpy_of(data.held_out(n_rows)).reshape(-1, 2)
    view = _view(rows)
    x, y, points = _mesh(view, MESH)
    log_det = float(data.standardizer.log_det)
    f = _energy_at(energy, data, points).reshape(MESH, MESH)
    density = None if log_z is None else np.exp(-f - log_z - log_det)
    truth = None
    if data.density is not None:
        with torch.no_grad():
            truth = (
                in_chunks(reference_copy(data.density).log_prob, points.view(-1, *data.shape))
                .exp()
                .numpy()
                .reshape(MESH, MESH)
            )
    peak = float(np.max(truth if truth is not None else density if density is not None else 1.0))

    def surface(ax: "Axes", values: Array, title: str, alpha: float = 1.0) -> None:
        _frame(ax, view, title)
        ax.imshow(
            values,
            origin="lower",
            extent=(x[0], x[-1], y[0], y[-1]),
            cmap=_density_colours(),
            vmin=0,
            vmax=peak,
            interpolation="bilinear",
            alpha=alpha,
        )

    drawn: dict[str, Callable[[Axes], None]] = {
        "data": lambda ax: _scatter(ax, view, rows, DATA_COLOUR, "data"),
    }
    if samples is not None:
        from_model = numpy_of(samples).reshape(-1, 2)
        drawn["samples"] = lambda ax: _scatter(ax, view, from_model, MODEL_COLOUR, "model samples")
    if truth is not None:
        drawn["data_density"] = lambda ax: surface(ax, truth, "data density")
    if density is not None:
        drawn["density"] = lambda ax: surface(ax, density, _titled("model density", results, {"KL": "eval/kl"}))

    def energy_panel(ax: "Axes") -> None:
        above = f - f.min()
        # Deep enough to show the barriers, not so deep that the far walls take all the colours.
        step = max(round(float(np.quantile(above, 0.7)) / LEVELS), 1)
        levels = step * np.arange(LEVELS + 1)
        title = f"energy, 0 to {levels[-1]} nats"
        _frame(ax, view, _titled(title, results, {"log Z": "eval/log_z"}))
        ax.contourf(x, y, above, levels=levels, cmap=ENERGY_COLOURS, extend="max")
        ax.contour(x, y, above, levels=levels[1:], colors="white", linewidths=0.35, alpha=0.5)

    def score_panel(ax: "Axes") -> None:
        title = _titled("score −∇f", results, {"Fisher": "eval/fisher"})
        if density is None:
            _frame(ax, view, title)
        else:
            surface(ax, density, title, alpha=0.45)
        at_x, at_y, at = _mesh(view, ARROWS)
        score = _score_at(energy, data, at)
        length = np.linalg.norm(score, axis=1, keepdims=True)
        # Lengths span decades: compressed by a logarithm, direction and order of magnitude both stay visible.
        arrows = score / np.maximum(length, 1e-12) * np.log1p(2 * length / max(float(np.median(length)), 1e-12))
        arrows *= 0.9 * (2 * view.half / ARROWS) / np.abs(arrows).max().clip(min=1e-12)
        ax.quiver(
            np.tile(at_x, ARROWS),
            np.repeat(at_y, ARROWS),
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

    return drawn | {"energy": energy_panel, "score": score_panel}


def samples_figure(samples: Tensor, data: Tensor | None = None, neighbours: Tensor | None = None) -> "Figure":
    """Samples, beside or over data rows of the same shape: histogram, scatter, image grid or pair plot by the shape.

    Args:
        samples: [N, *shape].
        data: [M, *shape].
        neighbours: the nearest training row to each of the first samples [n ≤ N, *shape], for images.
    """
    if is_image(samples.shape[1:]):
        return images_figure(samples, data, neighbours)
    points = numpy_of(samples).reshape(len(samples), -1)
    rows = None if data is None else numpy_of(data).reshape(len(data), -1)
    if points.shape[1] == 1:
        figure = blank(1.6 * PANEL, PANEL)
        _histograms(figure.subplots(), points[:, 0], None if rows is None else rows[:, 0])
        return figure
    if points.shape[1] == 2:
        view = _view(points if rows is None else rows)
        draws = [] if rows is None else [lambda ax: _scatter(ax, view, rows, DATA_COLOUR, "data")]
        return _tiled([[*draws, lambda ax: _scatter(ax, view, points, MODEL_COLOUR, "model samples")]])
    return _pair_figure(points, rows)


@dataclass(frozen=True)
class _View:
    """A square window on the plane."""

    centre: tuple[float, float]
    half: float


def _view(rows: Array) -> _View:
    """The square that holds all but the outermost 0.2 % of the rows, with a margin."""
    low, high = np.quantile(rows, 0.001, axis=0), np.quantile(rows, 0.999, axis=0)
    half = max(float((high - low).max()) / 2 * 1.15, 1e-6)
    return _View((float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2), half)


def _mesh(view: _View, n: int) -> tuple[Array, Array, Tensor]:
    """Cell centres of an n × n mesh on the view: x [n], y [n], points [n², 2], row by row."""
    side = (np.arange(n) + 0.5) * (2 * view.half / n) - view.half
    x, y = side + view.centre[0], side + view.centre[1]
    return x, y, torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))


def _energy_at(energy: EnergyFn, data: Dataset, x: Tensor) -> Array:
    """f at points in data units [N, D]."""
    dtype, device = placement(energy)
    with torch.no_grad():
        u = reference_copy(data.standardizer)(x.view(-1, *data.shape))
        values: Array = in_chunks(energy, u.to(device, dtype)).cpu().numpy()
    return values


def _score_at(energy: EnergyFn, data: Dataset, x: Tensor) -> Array:
    """∇_x log p_θ = −∇_u f / scale at points in data units [N, D]."""
    dtype, device = placement(energy)
    standardizer = reference_copy(data.standardizer)
    _, grad = value_and_grad(energy, standardizer(x.view(-1, *data.shape)).to(device, dtype))
    score: Array = (-grad.cpu().double() / standardizer.scale).flatten(1).numpy()
    return score


def _titled(name: str, results: Mapping[str, Value], numbers: Mapping[str, str]) -> str:
    found = [f"{label} {format_value(results[key])}" for label, key in numbers.items() if results.get(key) is not None]
    return "   ".join([name, *found])


def _density_colours() -> "Colormap":
    """Magma, perceptually uniform, from dark = likely to the white of the paper where there is nothing."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = colormaps["magma_r"](np.linspace(0, 1, 256))
    fade = np.clip(1 - np.linspace(0, 1, 256) / 0.2, 0, 1)[:, None] ** 1.5
    return ListedColormap(colours * (1 - fade) + fade)


def _tiled(draws: list[list[Callable[["Axes"], None]]]) -> "Figure":
    """Panels in rows; a row may be shorter than the others."""
    rows = [row for row in draws if row]
    width = max(len(row) for row in rows)
    figure = blank(PANEL * width, PANEL * 1.09 * len(rows))
    grid = figure.add_gridspec(len(rows), width)
    for i, row in enumerate(rows):
        for j, draw in enumerate(row):
            draw(figure.add_subplot(grid[i, j]))
    return figure


def _frame(ax: "Axes", view: _View, title: str) -> None:
    (x, y), half = view.centre, view.half
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    ax.set_title(title, fontsize=9)
    _quiet(ax)


def _quiet(ax: "Axes") -> None:
    ax.tick_params(labelsize=7, length=2, color="#999999", labelcolor="#666666")
    ax.locator_params(nbins=5)
    ax.spines[:].set(color="#bbbbbb", linewidth=0.6)


def _scatter(ax: "Axes", view: _View, points: Array, colour: str, title: str) -> None:
    _frame(ax, view, title)
    ax.scatter(points[:SHOWN, 0], points[:SHOWN, 1], s=2.5, c=colour, alpha=0.35, linewidths=0, rasterized=True)


def _histograms(ax: "Axes", samples: Array | None, rows: Array | None) -> None:
    known = [values for values in (rows, samples) if values is not None]
    low, high = np.quantile(np.concatenate(known[:1]), [0.001, 0.999])
    bins = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 61)
    for values, colour, label in ((rows, DATA_COLOUR, "data"), (samples, MODEL_COLOUR, "model samples")):
        if values is not None:
            # Normalised by all values, so that a bar outside the window is mass missing, not mass moved.
            weights = np.full(len(values), 1 / (len(values) * (bins[1] - bins[0])))
            ax.hist(values, bins=bins.tolist(), weights=weights, color=colour, alpha=0.35, label=label)
    ax.set_xlim(bins[0], bins[-1])
    ax.legend(fontsize=7, frameon=False)
    _quiet(ax)


def _figure_1d(
    energy: EnergyFn,
    data: Dataset,
    samples: Tensor | None,
    log_z: float | None,
    results: Mapping[str, Value],
    n_rows: int,
) -> "Figure":
    rows = numpy_of(data.held_out(n_rows)).reshape(-1)
    figure = blank(3.4 * PANEL, PANEL * 1.09)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.4, 1]})
    _histograms(left, None if samples is None else numpy_of(samples).reshape(-1), rows)
    low, high = left.get_xlim()
    x = torch.linspace(low, high, 800, dtype=torch.float64)
    f = _energy_at(energy, data, x)
    if data.density is not None:
        with torch.no_grad():
            truth = reference_copy(data.density).log_prob(x.view(-1, *data.shape)).exp()
        left.plot(x.numpy(), truth.numpy(), color=DATA_COLOUR, lw=1.4, label="data density")
    if log_z is not None:
        density = np.exp(-f - log_z - float(data.standardizer.log_det))
        left.plot(x.numpy(), density, color=MODEL_COLOUR, lw=1.4, label="model density")
    left.legend(fontsize=7, frameon=False)
    left.set_title(_titled("density", results, {"KL": "eval/kl"}), fontsize=9)
    right.plot(x.numpy(), f - f.min(), color=MODEL_COLOUR, lw=1.4)
    right.set_title(_titled("energy above its minimum, nats", results, {"log Z": "eval/log_z"}), fontsize=9)
    right.set_xlim(*left.get_xlim())
    _quiet(right)
    return figure


def _pair_figure(points: Array, rows: Array | None, n: int = 4) -> "Figure":
    """The first n coordinates against each other: histograms on the diagonal, scatter plots below it."""
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
                _histograms(ax, points[:, i], None if rows is None else rows[:, i])
                ax.set_yticks([])
                if i == 0:
                    figure.legend(*ax.get_legend_handles_labels(), loc="upper right", fontsize=9, frameon=False)
                ax.get_legend().remove()
            else:
                for values, colour in ((rows, DATA_COLOUR), (points, MODEL_COLOUR)):
                    if values is not None:
                        ax.scatter(values[:1500, j], values[:1500, i], s=2, c=colour, alpha=0.3, linewidths=0)
                _quiet(ax)
                ax.tick_params(labelleft=j == 0)
            ax.set_box_aspect(1)
            if i == n - 1:
                ax.set_xlabel(f"x{j + 1}", fontsize=8)
            if j == 0 and i:
                ax.set_ylabel(f"x{i + 1}", fontsize=8)
    return figure
