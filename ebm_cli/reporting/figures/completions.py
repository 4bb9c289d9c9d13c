"""Completions of given images: what was given, the mean of its samples, and some of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.reporting.figures.canvas import PANEL, blank, numpy_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GIVEN, COMPLETIONS = 8, 8
"""Given images in a picture, and samples of each."""
FREE_COLOUR = "#e8c7bd"
"""Colour of the pixels of a given image that are sampled."""


def completions_figure(given: Tensor, keep: Tensor | None, samples: Sequence[Tensor]) -> "Figure":
    """One line for each row of images: the given one (free pixels in a tint), the mean of its samples, some of them.

    Args:
        given: [R, C, H, W], R of 1 or more.
        keep: the pixels that were kept [R, C, H, W]; None where all of them were free.
        samples: of each of the first rows, as many as are to be shown: its samples [M, C, H, W], M of 1 or more.
    """
    n, width = len(samples), 2 + min(COMPLETIONS, max(len(images) for images in samples))
    cells = _cells(given, keep, samples, width)
    tall, wide = cells.shape[3:]
    picture = cells.transpose(0, 3, 1, 4, 2).reshape(n * tall, width * wide, 3)
    figure = blank(0.3 * PANEL * width * wide / tall, 0.3 * PANEL * n + 0.3)
    ax = figure.subplots()
    ax.imshow(picture, interpolation="nearest")
    for column, name in enumerate(("given", "mean", "samples")):
        ax.text((column + 0.5) * wide, -1, name, ha="center", va="bottom", fontsize=9)
    ax.axis("off")
    return figure


def _cells(given: Tensor, keep: Tensor | None, samples: Sequence[Tensor], width: int) -> NDArray[Any]:
    """The images of each line [n, width, 3, H + 2, W + 2] in [0, 1]; places without an image are white."""
    n = len(samples)
    kept = numpy_of(given)[slice(None) if keep is None else keep.cpu().numpy()]
    known = np.concatenate([kept.ravel(), *(numpy_of(images[: width - 2]).ravel() for images in samples)])
    known = known[np.isfinite(known)]
    dark, bright = np.quantile(known, [0.005, 0.995]) if len(known) else (0.0, 1.0)
    cells = np.full((n, width, *given.shape[1:]), np.nan)
    for line, images in zip(cells, samples, strict=True):
        line[1], line[2 : 2 + len(images)] = numpy_of(images).mean(0), numpy_of(images[: width - 2])
    cells[:, 0] = numpy_of(given[:n])
    cells = ((cells - dark) / max(float(bright - dark), 1e-12)).clip(0, 1)
    # Grey in three channels; white where there is no image.
    cells = np.nan_to_num(np.broadcast_to(cells, (n, width, 3, *given.shape[2:])), nan=1.0)
    if keep is not None:
        from matplotlib.colors import to_rgb

        hidden = (~keep[:n].all(1, keepdim=True)).cpu().numpy()
        cells[:, 0] = np.where(hidden, np.reshape(to_rgb(FREE_COLOUR), (3, 1, 1)), cells[:, 0])
    return np.pad(cells, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1.0)
