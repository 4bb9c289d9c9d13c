"""Images in grids: samples beside data, above their nearest training rows, and completions of given ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.evaluation.memorisation import nearest
from ebm_cli.reporting.figure import PANEL, Array, blank, numpy_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8  # images across a grid
NEIGHBOURS = 4  # rows of samples with their nearest training rows under them
GIVEN, COMPLETIONS = 8, 8  # given images in a picture, and samples of each
FREE_COLOUR = "#e8c7bd"  # what is to be sampled in a given image


def is_image(shape: Sequence[int]) -> bool:
    """Whether points of this shape are pictures: [1 or 3, height, width]."""
    return len(shape) == 3 and shape[0] in (1, 3)


def nearest_training_rows(x: Tensor, data: Dataset) -> Tensor:
    """The nearest of the fixed training rows (ten thousand at most) to each point: [N, *shape] → [N, *shape].

    Units are the data's own; the distance is Euclidean in standardised ones, where the energy computes.
    """
    units = data.standardizer
    return units.to_data_units(nearest(units.standardise(x), data.reference))


def images_figure(samples: Tensor, data: Tensor | None, neighbours: Tensor | None) -> "Figure":
    """Grids of images [C, H, W] in one range of grey: data, samples, samples above their nearest training rows."""
    parts = {} if data is None else {"data": data}
    parts["model samples"] = samples
    if neighbours is not None:
        parts["each above its nearest training row"] = above(samples[: len(neighbours)], neighbours.to(samples))
    reference = numpy_of(samples if data is None else data)
    low, high = float(reference.min()), float(reference.max())
    figure = blank(1.3 * PANEL * len(parts), 1.4 * PANEL)
    for ax, (title, images) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
        grid = _grid(numpy_of(images[: COLUMNS * COLUMNS]), low, high)
        ax.imshow(
            grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
        )
        ax.set_title(title, fontsize=9)
        ax.axis("off")
    return figure


def completions_figure(given: Tensor, keep: Tensor | None, samples: Sequence[Tensor]) -> "Figure":
    """One line for each row of images: what was given (free pixels in a tint), the mean of its samples, some of them.

    Args:
        given: [R, C, H, W], R of 1 or more.
        keep: which pixels were kept [R, C, H, W]; None where all of them were free.
        samples: of each of the first rows, as many as are to be shown: its samples [M, C, H, W], M of 1 or more.
    """
    n, width = len(samples), 2 + min(COMPLETIONS, max(len(images) for images in samples))
    kept = numpy_of(given)[slice(None) if keep is None else keep.cpu().numpy()]
    known = np.concatenate([kept.ravel(), *(numpy_of(images[: width - 2]).ravel() for images in samples)])
    dark, bright = np.quantile(known[np.isfinite(known)], [0.005, 0.995])
    cells = np.full((n, width, *given.shape[1:]), np.nan)
    for line, images in zip(cells, samples, strict=True):
        line[1], line[2 : 2 + len(images)] = numpy_of(images).mean(0), numpy_of(images[: width - 2])
    cells[:, 0] = numpy_of(given[:n])
    cells = ((cells - dark) / max(float(bright - dark), 1e-12)).clip(0, 1)
    # Grey in three channels; white where there is nothing.
    cells = np.nan_to_num(np.broadcast_to(cells, (n, width, 3, *given.shape[2:])), nan=1.0)
    if keep is not None:
        from matplotlib.colors import to_rgb

        hidden = (~keep[:n].all(1, keepdim=True)).cpu().numpy()
        cells[:, 0] = np.where(hidden, np.reshape(to_rgb(FREE_COLOUR), (3, 1, 1)), cells[:, 0])
    cells = np.pad(cells, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1.0)
    tall, wide = cells.shape[3:]
    picture = cells.transpose(0, 3, 1, 4, 2).reshape(n * tall, width * wide, 3)
    figure = blank(0.3 * PANEL * width * wide / tall, 0.3 * PANEL * n + 0.3)
    ax = figure.subplots()
    ax.imshow(picture, interpolation="nearest")
    for column, name in enumerate(("given", "mean", "samples")):
        ax.text((column + 0.5) * wide, -1, name, ha="center", va="bottom", fontsize=9)
    ax.axis("off")
    return figure


def tiles(images: Tensor, low: float, high: float, width: int = 320) -> Array:
    """Images in a grid, row by row, with white lines between them: RGB [H, W, 3], uint8.

    Args:
        images: [N, C, h, w], C = 1 (grey) or 3.
        low, high: what is black and what is white.
        width: pixels that the grid has across, about: small images are enlarged by a whole number.
    """
    grid = _grid(numpy_of(images), low, high)
    scale = max(1, width // grid.shape[1])
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    shown: Array = np.broadcast_to((255 * grid).round().astype(np.uint8), (*grid.shape[:2], 3)).copy()
    return shown


def above(upper: Tensor, lower: Tensor) -> Tensor:
    """Rows of a grid in turn from two sets of images [N, …] each: upper's first, under it lower's first: [2 N, …]."""
    pairs = zip(upper.split(COLUMNS), lower.split(COLUMNS), strict=True)
    return torch.cat([row for pair in pairs for row in pair])


def _grid(images: Array, low: float, high: float) -> Array:
    """Images [N, C, h, w] in rows: [height, width, C] in [0, 1]; places without an image are white."""
    shown = (np.nan_to_num(images, nan=high) - low) / max(high - low, 1e-12)
    shown = np.pad(shown, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1.0)
    n_rows = -(-len(shown) // COLUMNS)
    blank = np.ones((n_rows * COLUMNS - len(shown), *shown.shape[1:]))
    cells = np.concatenate([shown, blank]).clip(0, 1)
    _, channels, height, width = cells.shape
    grid = cells.reshape(n_rows, COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    tiled: Array = grid.reshape(n_rows * height, COLUMNS * width, channels)
    return tiled
