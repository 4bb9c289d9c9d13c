"""Where a network energy starts.

torch's default makes a network of two inputs almost linear over the data: the first layer hardly bends there, and each
layer halves the signal. Such an energy first has to grow its nonlinearity, which takes thousands of steps. Here the
first layer starts as random features that vary on the scale of the data, and the others keep the signal's size.
"""

import math
from collections.abc import Iterable

from torch import nn

Layer = nn.Linear | nn.Conv2d


DEEPEST = 10_000
"""Layers: making as many as one can type would fill any memory."""


def check_size(width: int, depth: int, input_scale: float) -> None:
    """Raise ValueError for a width or depth below 1, a depth that nobody trains, or a scale that is not positive."""
    if width < 1:
        raise ValueError(f"width must be >= 1, got {width}")
    if depth < 1:
        raise ValueError(f"depth must be >= 1, got {depth}")
    if depth > DEEPEST:
        raise ValueError(f"depth must be <= {DEEPEST}, got {depth}")
    if not input_scale > 0:
        raise ValueError(f"input_scale must be > 0, got {input_scale}")


def initialise(first: Layer, hidden: Iterable[Layer], input_scale: float) -> None:
    """First layer: W ~ N(0, s²/n), b ~ U(−s, s); hidden layers: W ~ N(0, 2/n), b = 0; n the inputs of one output.

    On standardised data the first layer's inputs to the activation have standard deviation about s, whatever n is.
    Sources: Rahimi & Recht (2007), random features, for the first; He et al. (2015), eq. 10, for the others.

    Args:
        first: the layer that sees the data.
        hidden: the layers after it, without the last.
        input_scale: s > 0: larger resolves finer structure, at the price of a rougher start.
    """
    nn.init.normal_(first.weight, std=input_scale / math.sqrt(first.weight[0].numel()))
    if first.bias is not None:
        nn.init.uniform_(first.bias, -input_scale, input_scale)
    for layer in hidden:
        nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
