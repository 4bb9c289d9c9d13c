"""Initial weights of a network energy.

torch's default makes a network of two inputs almost linear over the data: the first layer hardly bends there, and each
layer halves the signal. Such an energy must first grow its nonlinearity, which takes thousands of steps. Here the first
layer starts as random features that vary on the scale of the data, and the others preserve the size of the signal.
"""

import math
from collections.abc import Iterable

from torch import nn

Layer = nn.Linear | nn.Conv2d


MAX_DEPTH = 10_000
"""Bound of the number of layers; a mistyped depth would otherwise fill the memory."""


def require_size(width: int, depth: int, input_scale: float) -> None:
    """Raise ValueError for a width below 1, a depth outside [1, MAX_DEPTH], or a scale that is not positive."""
    if width < 1:
        raise ValueError(f"width must be >= 1, got {width}")
    if depth < 1:
        raise ValueError(f"depth must be >= 1, got {depth}")
    if depth > MAX_DEPTH:
        raise ValueError(f"depth must be <= {MAX_DEPTH}, got {depth}")
    if not input_scale > 0:
        raise ValueError(f"input_scale must be > 0, got {input_scale}")


def initialise(first: Layer, hidden: Iterable[Layer], input_scale: float) -> None:
    """Draw W ~ N(0, s²/n), b ~ U(−s, s) for the first layer and W ~ N(0, 2/n), b = 0 for hidden ones, of n inputs.

    On standardised data the inputs of the first activation have a standard deviation of about s, whatever n is.
    Sources: Rahimi & Recht (2007), random features, for the first; He et al. (2015), eq. 10, for the others.

    Args:
        first: the layer that the data enter.
        hidden: the layers after it, except the last.
        input_scale: s > 0; a larger one resolves finer structure, at the price of a rougher initial energy.
    """
    nn.init.normal_(first.weight, std=input_scale / math.sqrt(first.weight[0].numel()))
    if first.bias is not None:
        nn.init.uniform_(first.bias, -input_scale, input_scale)
    for layer in hidden:
        nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
