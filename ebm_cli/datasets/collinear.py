"""Columns that are linear functions of other columns: copies of one, sums of several, with or without a little noise.

The columns are taken in their order. With C the correlations of those kept so far and c those with the next column, the
next one leaves the variance 1 − cᵀC⁻¹c, in squared standard deviations of its own, which the kept ones do not explain.
A column that leaves less than `NEARLY` is dependent and is not kept.

A density on such columns is concentrated on a subspace: the Fisher divergence weighs the narrow direction by the
inverse of that variance, and has no lower bound where it is 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEARLY = 1e-3
"""Unexplained share of a column's variance below which it is collinear: a thirtieth of its standard deviation."""
EXACTLY = 1e-8
"""The same below which only rounding is left."""
INVOLVED = 0.01
"""Smallest contribution of a column to another, in standard deviations, that is named."""
MAX_COLUMNS = 500


class Dependent(NamedTuple):
    """A column that others determine.

    Attributes:
        column: its index.
        of: indices of the columns that determine it; one for a copy.
        left: share of its variance that they leave.
    """

    column: int
    of: tuple[int, ...]
    left: float


def collinear(x: NDArray[np.float64]) -> list[Dependent]:
    """Find the dependent columns of rows x [N, D], none of them constant.

    N > 2 D rows are needed to tell whether a column nearly depends on others; D + 2, whether it does exactly.

    Cost: the correlations, and a system of at most D equations for each column.
    """
    n, d = x.shape
    if n < d + 2 or not 2 <= d <= MAX_COLUMNS:
        return []
    threshold = NEARLY if n > 2 * d else EXACTLY
    u = (x - x.mean(0)) / x.std(0)
    c = u.T @ u / n
    kept: list[int] = [0]
    found = []
    for j in range(1, d):
        solution = np.linalg.solve(c[np.ix_(kept, kept)], c[kept, j])
        # The residuals themselves: 1 − cᵀC⁻¹c would lose half of the digits.
        left = float(np.square(u[:, j] - u[:, kept] @ solution).mean()) if c[kept, j] @ solution > 0.99 else 1.0
        if left > threshold:
            kept.append(j)
            continue
        found.append(Dependent(j, tuple(kept[i] for i in np.flatnonzero(np.abs(solution) > INVOLVED)), left))
    return found
