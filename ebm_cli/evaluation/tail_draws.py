"""Draws of which those in the tails of a column are kept, and few of the others: what a tail weighs, for little.

A tail of 0.1 % has 200 of 200,000 draws, and where a density is too light a handful of them carries all the weight of
a model there. More draws cost little, weighing them does: of those that lie in no tail one in many is enough.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 20_000
"""Draws that are made together."""
N_BETWEEN = 100_000
"""Draws between the thresholds that are kept, about."""
N_PER_COLUMN = 200_000
"""Draws that are made for each column: two tails of 0.1 % have 400 of them."""


class Thinned(NamedTuple):
    """Points x [N, *shape], and the logarithm of the number of draws that each of them stands for [N], float64."""

    x: Tensor
    log_count: Tensor

    def weighed(self, log_w: Tensor) -> Tensor:
        """Logarithms of the weights of the points [N], from those of single draws [N], which are truncated.

            w ← min(w, √n · mean w),    n the draws before thinning

        One draw in a million may find a place where an energy is low by chance, and weigh as much as a whole tail. The
        truncated weights lose nothing as n grows. Source: Ionides (2008), JCGS 17(2), 295.
        """
        n = self.log_count.logsumexp(0)
        mean = (log_w + self.log_count).logsumexp(0) - n
        return log_w.clamp(max=mean + 0.5 * n) + self.log_count


def thinned(draw: Callable[[int], Tensor], n: int, low: Tensor, high: Tensor) -> Thinned:
    """n draws, thinned where no coordinate is below `low` or above `high`.

    Args:
        draw: a number → so many independent points, flat [B, D].
        n: draws to make.
        low, high: thresholds [D].

    Cost: n draws; those beyond the thresholds are kept, and about 100,000 others.
    """
    every = max(1, n // N_BETWEEN)
    points, counts = [], []
    for first in range(0, n, BLOCK):
        x = draw(min(BLOCK, n - first))
        beyond = ((x < low) | (x > high)).any(1)
        kept = beyond.clone()
        kept[::every] = True
        points.append(x[kept])
        counts.append(torch.where(beyond[kept], 1.0, float(every)).double().log().cpu())
    return Thinned(torch.cat(points), torch.cat(counts))
