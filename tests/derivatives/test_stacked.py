"""Networks that are evaluated as one have the values and derivatives of each."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import gradient, laplacian, stacked, value_and_grad
from ebm_cli.energies.base import NetworkEnergy
from ebm_cli.energies.mlp import MLP
from tests.support import normal


def energies(dim: int) -> tuple[list[MLP], NetworkEnergy, list[Tensor]]:
    """Three energies, the same as one, and the parameters of this."""
    torch.manual_seed(0)
    each = [MLP((dim,), width=20, activation="tanh").double() for _ in range(3)]
    leaves = [torch.stack(same).detach().requires_grad_() for same in zip(*(e.parameters() for e in each), strict=True)]
    network = each[0].network
    assert isinstance(network, torch.nn.Sequential)
    return each, NetworkEnergy((dim,), stacked(network, leaves), each[0].base), leaves


def distance(found: Tensor, truth: Sequence[Tensor]) -> float:
    return float((found - torch.cat(list(truth))).detach().abs().max())


@pytest.mark.parametrize("dim", [1, 2, 17])
def test_stacked_networks_equal_each_of_them(dim: int) -> None:
    each, together, leaves = energies(dim)
    x = normal(3, 4, dim).double()
    pairs = list(zip(each, x, strict=True))
    value, grad = value_and_grad(together, x.flatten(0, 1))
    assert distance(value, [e(own) for e, own in pairs]) < 1e-12
    assert distance(grad, [value_and_grad(e, own)[1] for e, own in pairs]) < 1e-12
    assert distance(laplacian(together, x.flatten(0, 1))[1], [laplacian(e, own)[1] for e, own in pairs]) < 1e-11
    # Derivatives in the weights, of the value and of the gradient.
    for of in (lambda e, points: e(points), lambda e, points: gradient(e, points).square()):
        found = torch.autograd.grad(of(together, x.flatten(0, 1)).sum(), leaves, allow_unused=True)
        for r, (e, own) in enumerate(pairs):
            truth = torch.autograd.grad(of(e, own).sum(), list(e.parameters()), allow_unused=True)
            for a, b in zip(found, truth, strict=True):
                assert (a is None) == (b is None)
                assert a is None or b is None or (a[r] - b).abs().max() < 1e-11
    # The control: points of another network.
    assert distance(together(x.flip(0).flatten(0, 1)), [e(own) for e, own in pairs]) > 1e-3


def test_stacked_network_is_differentiated_twice_by_autograd() -> None:
    each, together, leaves = energies(2)
    x = normal(3, 4, 2).double()

    def slope(e: NetworkEnergy, points: Tensor) -> Tensor:
        points = points.requires_grad_()
        (grad,) = torch.autograd.grad(e(points).sum(), points, create_graph=True)
        return grad.square().sum()

    found = torch.autograd.grad(slope(together, x.flatten(0, 1)), leaves[0])[0]
    for r, e in enumerate(each):
        truth = torch.autograd.grad(slope(e, x[r].clone()), next(e.parameters()))[0]
        assert (found[r] - truth).abs().max() < 1e-11
