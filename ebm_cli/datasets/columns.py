"""Statistics of the columns of a data set, in one pass over rows that need not fit into memory."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_cli.datasets.column_values import Values, robust_scale, ties
from ebm_cli.datasets.io.mapped import CHUNK_NUMBERS, Rows, chunks

SELECTED = 100_000
"""Rows from which quartiles and steps are computed, at most."""
LARGEST_DEQUANTISED = 2**22
"""Above it float32 has no two numbers between neighbouring whole numbers."""


class ColumnMoments(NamedTuple):
    """Moments of n rows, column by column, float64 [*shape].

    Two sets are merged by Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance", equation 2.1.

    Attributes:
        n: number of rows.
        mean: mean.
        squares: sum of squared distances from the mean.
        largest: largest absolute value.
    """

    n: int
    mean: Tensor
    squares: Tensor
    largest: Tensor

    @classmethod
    def from_rows(cls, x: Tensor) -> "ColumnMoments":
        """Compute the moments of rows x [n, *shape]."""
        rows = x.double()
        mean = rows.mean(dim=0)
        return cls(len(rows), mean, (rows - mean).square().sum(dim=0), rows.abs().amax(dim=0))

    def merge(self, other: "ColumnMoments") -> "ColumnMoments":
        """Return the moments of the union of two disjoint sets of rows."""
        n, apart = self.n + other.n, other.mean - self.mean
        return ColumnMoments(
            n,
            self.mean + apart * (other.n / n),
            self.squares + other.squares + apart.square() * (self.n * other.n / n),
            torch.maximum(self.largest, other.largest),
        )


def column_moments(rows: Rows, index: Tensor, chunk_numbers: int = CHUNK_NUMBERS) -> ColumnMoments:
    """Compute the moments of the rows of an index [n], n ≥ 1, `chunk_numbers` numbers at a time."""
    parts = chunks(rows, index, chunk_numbers)
    total = ColumnMoments.from_rows(next(parts))
    for part in parts:
        total = total.merge(ColumnMoments.from_rows(part))
    return total


def whole_columns(rows: Rows) -> Tensor:
    """Find the columns that hold only whole numbers: booleans [*shape].

    Raises:
        ValueError: no such column, or one with numbers of 2²² and more, between which noise cannot be represented.
    """
    is_whole = torch.ones(rows.shape[1:], dtype=torch.bool)
    largest = torch.zeros(rows.shape[1:])
    for x in chunks(rows, torch.arange(len(rows))):
        is_whole &= (x == x.round()).all(dim=0)
        largest = torch.maximum(largest, x.abs().amax(dim=0))
    if not bool(is_whole.any()):
        raise ValueError("dequantise must be false: no column holds only whole numbers")
    is_too_large = is_whole & (largest >= LARGEST_DEQUANTISED)
    if bool(is_too_large.any()):
        column = int(is_too_large.flatten().nonzero()[0])
        raise ValueError(
            f"dequantise must be false: column {column} (counted from 0) holds whole numbers of {LARGEST_DEQUANTISED} "
            "and more, between which float32 has no room for noise"
        )
    return is_whole


def half_steps(rows: Rows) -> Tensor:
    """Half of the step of each column with ties (`column_values.ties`), 0 for others: float64 [*shape], data units.

    Raises:
        ValueError: no column has ties.
    """
    x = _selected(rows, torch.arange(len(rows)))
    steps = torch.zeros(x.shape[1], dtype=torch.float64)
    for j, column in enumerate(x.T):
        values = Values.of(column)
        tied = ties(values, values.std) if len(values.values) > 1 else None
        steps[j] = tied.step / 2 if tied is not None else 0.0
    if not bool(steps.any()):
        raise ValueError("dequantise must be false: no column holds whole or rounded numbers that repeat")
    return steps.view(rows.shape[1:])


def robust_moments(rows: Rows, index: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Median and squared robust scale, ((q₇₅ − q₂₅) / 1.349)², of the rows of an index: float64 [*shape], data units.

    The scale is that of a normal distribution with the same quartiles; a value of any size, in less than a quarter of
    the rows, does not move it. Where the quartiles coincide, it is that of the values other than the most frequent one;
    a column with nothing else keeps `mean` and `variance`. Of more than `SELECTED` rows an even selection is taken.
    """
    centre, square = mean.flatten().clone(), variance.flatten().clone()
    for j, column in enumerate(_selected(rows, index).T):
        found = robust_scale(Values.of(column))
        if found is not None:
            centre[j], square[j] = found[0], found[1] ** 2
    return centre.view(mean.shape), square.view(mean.shape)


def _selected(rows: Rows, index: Tensor) -> NDArray[np.float64]:
    """At most `SELECTED` rows of an index, evenly from all, float64 [n, D]."""
    n = min(len(index), SELECTED)
    taken = index[torch.arange(n) * len(index) // n]
    x: NDArray[np.float64] = rows[taken].detach().cpu().flatten(1).double().numpy()
    return x
