"""Few values that stand for the many of a column, in fits of one coordinate by itself."""

import math

import torch
from torch import Tensor

N_GROUPS = 256
"""Groups of neighbouring values that stand for a column: single values at its ends, many in its middle."""


def grouped(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Means of groups of neighbouring values of each column [G, D], and the groups' shares of the rows [G, 1].

    The borders are evenly spaced in the logit of the rank, so that the ends keep all they know of the tails.
    """
    n = len(rows)
    ranks = (n * torch.linspace(-math.log(n), math.log(n), N_GROUPS).sigmoid()).round().long()
    edges = torch.cat((torch.tensor([0]), ranks, torch.tensor([n]))).unique()
    sums = torch.cat((torch.zeros_like(rows[:1]), rows.sort(0).values.cumsum(0)))[edges]
    sizes = edges.diff().unsqueeze(1)
    return sums.diff(dim=0) / sizes, sizes / n
