"""The networks of several runs as one energy.

Points of all runs are one batch, R blocks of rows [R·B, *shape], in which a block belongs to one run: whatever takes an
energy and points (derivatives, chains) takes these too. A layer of R weights is one batched product.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ebm_cli.derivatives import Differentiable, Jet, Pullback
from ebm_cli.derivatives.matmul import NARROW
from ebm_cli.energies.base import NetworkEnergy


class StackedLinear(nn.Module, Differentiable):
    """h ← W_r h + b_r for the rows of the r-th block.

    Args:
        weight: [R, n_out, n_in].
        bias: [R, n_out].

    Shapes: [R·B, n_in] → [R·B, n_out].
    """

    needs_whole_batch: ClassVar[bool] = True

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        # Plain attributes: these are views of the runs' own parameters.
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
        blocks: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            x.reshape(len(weight), -1, x.shape[1]), weight, bias
        )
        return blocks.flatten(0, 1)


class _Product(torch.autograd.Function):
    """x Wᵀ + b of each run, whose gradients are products of the fast orientation.

    Shapes: x [R, B, n_in], weight [R, n_out, n_in], bias [R, n_out] → [R, B, n_out].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        g_x = g_weight = None
        if needs_x:
            g_x = g * weight if weight.shape[1] == 1 else torch.bmm(g, weight)
        if needs_weight:
            # MKL takes up to ten times as long where the narrow side of the result is its last.
            is_narrow = x.shape[2] < NARROW
            g_weight = torch.bmm(x.mT, g).mT if is_narrow else torch.bmm(g.mT, x)
        return g_x, g_weight, g.sum(1) if needs_bias else None


def stacked_energy(energy: NetworkEnergy, leaves: Sequence[Tensor]) -> NetworkEnergy:
    """The energies of R runs as one.

    Args:
        energy: of one of the runs; its network is a sequence of linear layers with bias and of activations.
        leaves: the parameters of all runs, [R, *shape] each, in the order of the energy's own.
    """
    assert isinstance(energy.network, nn.Sequential)
    weights = iter(leaves)
    return NetworkEnergy(energy.shape, nn.Sequential(*(_stacked(m, weights) for m in energy.network)), energy.base)


def _stacked(module: nn.Module, weights: Iterator[Tensor]) -> nn.Module:
    return StackedLinear(next(weights), next(weights)) if isinstance(module, nn.Linear) else module
