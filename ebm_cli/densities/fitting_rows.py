"""Rows as a fit by likelihood needs them: of comparable scales, and without ties that make a likelihood unbounded."""

from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST_WIDTH = 0.02
"""Width of the uniform noise that spreads equal values, in units of the column's scale, at the least."""


class FittingRows(NamedTuple):
    """Rows z = (x − centre) / scale: values [N, D], centre [D] and scale [D], float64, on the CPU."""

    values: Tensor
    centre: Tensor
    scale: Tensor

    @classmethod
    def of(cls, data: Tensor) -> "FittingRows":
        """Centre and scale rows [N, *shape], and spread the values of a column that occur again and again.

        The scale is that of the bulk (the quartiles'), which heavy tails leave as it is. A column of which half of the
        values or more repeat another one (whole numbers, counts, a constant) has a density that is unbounded there;
        its values are spread by uniform noise as wide as the typical gap between them. It is the same in every call.
        """
        rows = data.detach().flatten(1).double().cpu()
        rng = torch.Generator().manual_seed(0)
        noise = torch.rand(rows.shape, generator=rng, dtype=rows.dtype) - 0.5
        scale = bulk_scale(rows)
        rows = rows + noise * torch.stack([_width(column, unit) for column, unit in zip(rows.T, scale, strict=True)])
        centre, scale = rows.median(0).values, bulk_scale(rows)
        return cls((rows - centre) / scale, centre, scale)


def bulk_scale(rows: Tensor) -> Tensor:
    """Scale of each column of rows [N, D]: sd of a normal distribution of the same quartiles, else sd, else 1: [D]."""
    ordered = rows.sort(0).values
    n = len(rows)
    quartiles = (ordered[(3 * n) // 4 if n > 1 else 0] - ordered[n // 4]) / 1.349
    std = rows.std(0, correction=0)
    scale = torch.where(quartiles > 1e-3 * std, quartiles, std)
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _width(column: Tensor, unit: Tensor) -> Tensor:
    """Width of the noise that spreads the values of a column: 0 without ties []."""
    distinct = column.unique()
    if 2 * len(distinct) > len(column):
        return torch.zeros_like(unit)
    least = SMALLEST_WIDTH * unit
    return torch.maximum(distinct.diff().median(), least) if len(distinct) > 1 else least
