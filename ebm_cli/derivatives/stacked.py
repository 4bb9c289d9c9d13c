"""Networks of one shape as one: a layer of R weights is one batched product.

Points of all are one batch, R blocks of rows [R·B, n], in which a block belongs to one network: whatever takes a
network and all of its points at once takes these too.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ebm_cli.derivatives.jet import Differentiable, Jet, Pullback
from ebm_cli.derivatives.matmul import stacked_product


class StackedLinear(nn.Module, Differentiable):
    """h ← W_r h + b_r for the rows of the r-th block.

    Args:
        weight: [R, n_out, n_in].
        bias: [R, n_out].

    Shapes: [R·B, n_in] → [R·B, n_out].
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        # Plain attributes: these are views of the networks' own parameters.
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        return self._product(x, self.weight, self.bias)

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """h ← W h + b, J ← W J, L ← W L, and back by Wᵀ."""
        first = None
        if jet.first is not None and jet.needs_first:
            along = jet.first.expand(-1, len(jet.value), -1)
            first = torch.stack([self._product(direction, self.weight) for direction in along])
        second = None if jet.second is None else self._product(jet.second, self.weight)

        def pullback(g: Tensor) -> Tensor:
            return self._product(g.expand(len(jet.value), -1), self.weight.mT)

        return Jet(self(jet.value), first, second), pullback

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return stacked_product(x.reshape(len(weight), -1, x.shape[1]), weight, bias).flatten(0, 1)


def stacked(network: nn.Sequential, weights: Sequence[Tensor]) -> nn.Sequential:
    """R networks like this one as one.

    Args:
        network: a sequence of linear layers with bias and of modules without parameters.
        weights: the parameters of all networks, [R, *shape] each, in the order of the network's own.
    """
    left = iter(weights)
    return nn.Sequential(*(_stacked(module, left) for module in network))


def _stacked(module: nn.Module, left: Iterator[Tensor]) -> nn.Module:
    return StackedLinear(next(left), next(left)) if isinstance(module, nn.Linear) else module
