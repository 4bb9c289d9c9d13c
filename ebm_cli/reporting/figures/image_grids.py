"""Images in grids: samples beside data, and samples above their nearest training rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.evaluation.memorisation import nearest
from ebm_cli.reporting.figures.canvas import PANEL, blank, numpy_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8
"""Images across a grid."""
NEIGHBOURS = 4
"""Rows of samples with their nearest training rows below them."""


def is_image(shape: Sequence[int]) -> bool:
    """True for the shape of a picture: [1 or 3, height, width]."""
    return len(shape) == 3 and shape[0] in (1, 3)


def nearest_training_rows(x: Tensor, data: Dataset) -> Tensor:
    """The nearest of the fixed training rows (ten thousand at most) to each point: [N, *shape] → [N, *shape].

    Points are in data units; the distance is Euclidean in standardised ones, where the energy computes.
    """
    units = data.standardizer
    return units.to_data_units(nearest(units.standardise(x), data.reference))


def images_figure(samples: Tensor, data: Tensor | None, neighbours: Tensor | None) -> "Figure":
    """Grids of images [C, H, W] in one range of grey: data, samples, samples above their nearest training rows."""
    parts = {} if data is None else {"data": data}
    parts["model samples"] = samples
    if neighbours is not None:
        pairs = interleave_rows(samples[: len(neighbours)], neighbours.to(samples))
        parts["each above its nearest training row"] = pairs
    reference = numpy_of(samples if data is None else data)
    reference = reference[np.isfinite(reference)]
    low, high = (float(reference.min()), float(reference.max())) if reference.size else (0.0, 1.0)
    figure = blank(1.3 * PANEL * len(parts), 1.4 * PANEL)
    for ax, (title, images) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
        grid = _grid(numpy_of(images[: COLUMNS * COLUMNS]), low, high)
        ax.imshow(
            grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
        )
        ax.set_title(title, fontsize=10.5)
        ax.axis("off")
    return figure


def tile_images(images: Tensor, low: float, high: float, width: int = 320) -> NDArray[Any]:
    """Images in a grid, row by row, with white lines between them: RGB [H, W, 3], uint8.

    Args:
        images: [N, C, h, w], C = 1 (grey) or 3.
        low, high: the values that are black and white.
        width: pixels across the grid, approximately: small images are enlarged by a whole number.
    """
    grid = _grid(numpy_of(images), low, high)
    scale = max(1, width // grid.shape[1])
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    shown: NDArray[Any] = np.broadcast_to((255 * grid).round().astype(np.uint8), (*grid.shape[:2], 3)).copy()
    return shown


def interleave_rows(upper: Tensor, lower: Tensor) -> Tensor:
    """Alternating rows of a grid from two sets of images [N, …] each, upper's first row on top: [2 N, …]."""
    pairs = zip(upper.split(COLUMNS), lower.split(COLUMNS), strict=True)
    return torch.cat([row for pair in pairs for row in pair])


def _grid(images: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Images [N, C, h, w] in rows: [height, width, C] in [0, 1]; places without an image are white."""
    # Clipped first: an infinite pixel is black or white.
    shown = (np.nan_to_num(images, nan=high).clip(low, high) - low) / max(high - low, 1e-12)
    shown = np.pad(shown, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1.0)
    n_rows = -(-len(shown) // COLUMNS)
    blank = np.ones((n_rows * COLUMNS - len(shown), *shown.shape[1:]))
    cells = np.concatenate([shown, blank]).clip(0, 1)
    _, channels, height, width = cells.shape
    grid = cells.reshape(n_rows, COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    tiled: NDArray[Any] = grid.reshape(n_rows * height, COLUMNS * width, channels)
    return tiled
