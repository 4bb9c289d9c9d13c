"""The figure of a model, or of samples alone, chosen by the shape of the data."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ebm_cli.datasets.base import Dataset
from ebm_cli.derivatives import EnergyFn
from ebm_cli.evaluation.values import Values
from ebm_cli.reporting.figures.canvas import numpy_of
from ebm_cli.reporting.figures.image_grids import (
    COLUMNS,
    NEIGHBOURS,
    images_figure,
    is_image,
    nearest_training_rows,
)
from ebm_cli.reporting.figures.line import histogram_figure, line_figure
from ebm_cli.reporting.figures.pairs import pair_figure
from ebm_cli.reporting.figures.plane import plane_figure, plane_panels, scatter_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def final_figure(
    energy: EnergyFn,
    data: Dataset,
    samples: Tensor | None = None,
    log_z: float | None = None,
    results: Values | None = None,
    n_rows: int = 10_000,
) -> "Figure":
    """Everything about a model in one picture.

    Args:
        energy: f(u), standardised units.
        data: the data set.
        samples: from the model, data units [N, *shape].
        log_z: in standardised units; without it no density is drawn.
        results: keys of results.json, for the titles.
        n_rows: held-out rows to show.
    """
    dim = math.prod(data.shape)
    if dim == 2:
        return plane_figure(plane_panels(energy, data, samples, log_z, results, n_rows))
    if dim == 1:
        return line_figure(energy, data, samples, log_z, results, n_rows)
    rows = data.held_out(n_rows)
    if samples is None or not is_image(data.shape):
        return samples_figure(rows if samples is None else samples, rows, names=data.column_names)
    return samples_figure(samples, rows, nearest_training_rows(samples[: NEIGHBOURS * COLUMNS], data))


def samples_figure(
    samples: Tensor,
    data: Tensor | None = None,
    neighbours: Tensor | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Samples, beside or over data rows of the same shape: histogram, scatter plot, image grid or pair plot.

    Args:
        samples: [N, *shape].
        data: [M, *shape].
        neighbours: the nearest training row to each of the first samples [n ≤ N, *shape], for images.
        names: of the columns of a table.
    """
    if is_image(samples.shape[1:]):
        return images_figure(samples, data, neighbours)
    points = numpy_of(samples).reshape(len(samples), -1)
    rows = None if data is None else numpy_of(data).reshape(len(data), -1)
    if points.shape[1] == 1:
        return histogram_figure(points[:, 0], None if rows is None else rows[:, 0], names)
    if points.shape[1] == 2:
        return scatter_figure(points, rows, names)
    return pair_figure(points, rows, names)
