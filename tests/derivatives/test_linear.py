"""The linear layer that chooses its product: torch's numbers for every width."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ebm_cli.derivatives import Linear, matmul
from ebm_cli.derivatives.jet import Jet
from ebm_cli.derivatives.linear import _stacked
from tests.support import normal


@pytest.mark.parametrize("n_in", [1, 2, 15, 16])
@pytest.mark.parametrize("n_out", [1, 8, 15, 16, 32])
def test_linear_of_any_width_equals_torchs(n_in: int, n_out: int) -> None:
    layer, plain = Linear(n_in, n_out).double(), nn.Linear(n_in, n_out).double()
    plain.load_state_dict(layer.state_dict())
    x, g = torch.randn(9, n_in, dtype=torch.float64), torch.randn(9, n_out, dtype=torch.float64)
    for points in (x, x.requires_grad_(), x.view(3, 3, n_in), x[0]):
        torch.testing.assert_close(layer(points), plain(points), rtol=1e-13, atol=1e-13)
        for weight in (layer.weight, layer.weight.t().contiguous().t()):
            free = F.linear(points, weight)
            torch.testing.assert_close(matmul.product(points, weight), free, rtol=1e-13, atol=1e-13)
    found = torch.autograd.grad((layer(x) * g).sum(), [x, layer.weight, layer.bias])
    truth = torch.autograd.grad((plain(x) * g).sum(), [x, plain.weight, plain.bias])
    torch.testing.assert_close(found, truth, rtol=1e-13, atol=1e-13)


def test_linear_is_loaded_from_torchs_linear() -> None:
    layer, plain = Linear(20, 8), nn.Linear(20, 8)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(torch.ones(2, 20)), plain(torch.ones(2, 20)))


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("has_second", [True, False])
def test_stacked_product_equals_those_of_the_parts(has_bias: bool, has_second: bool) -> None:
    """Compiled code takes one product of value, first and second derivatives; eager code takes three."""
    weight, bias = normal(5, 4, seed=0), normal(5, seed=1) if has_bias else None
    jet = Jet(normal(3, 4, seed=2), normal(2, 3, 4, seed=3), normal(3, 4, seed=4) if has_second else None)
    found = _stacked(weight, bias, jet)
    assert jet.first is not None
    torch.testing.assert_close(found.value, F.linear(jet.value, weight, bias))
    torch.testing.assert_close(found.first, F.linear(jet.first, weight))
    second = None if jet.second is None else F.linear(jet.second, weight)
    torch.testing.assert_close(found.second, second)
    assert _stacked(weight, bias, jet._replace(needs_first=False)).first is None
