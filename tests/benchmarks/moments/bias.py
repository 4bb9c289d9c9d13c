"""When the mean of the squares is right: b² of many chains, step by step."""

from torch import Tensor

from .targets import Truth

BIAS = 0.01
MOST_GRADIENTS = 400_000
"""A chain, before a sampler counts as one that does not arrive."""
PATIENCE = 1.3
"""Steps over those to the last b² above the bound, until it counts as staying below."""


class Bias:
    """Medians of b² over the chains, step by step, and the step from which they stay below the bound."""

    def __init__(self) -> None:
        self.steps, self.above, self.last = 0, 0, float("nan")

    def add(self, medians: Tensor) -> bool:
        """Add the medians of further steps [n]; True where no more are needed."""
        late = (~(medians < BIAS)).nonzero()
        if len(late):
            self.above = self.steps + int(late[-1]) + 1
        self.steps += len(medians)
        self.last = float(medians[-1])
        return self.steps >= PATIENCE * (self.above + 20)


def squared_bias(total: Tensor, n: int, truth: Truth) -> Tensor:
    """Median of b² over the chains, from the sums of n squares [B, D]."""
    return ((total / n - truth.mean) ** 2 / truth.variance).mean(1).median()
