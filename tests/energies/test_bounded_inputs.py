"""Inputs that are white over the data, and bounded far from them."""

import math

import pytest
import torch
from torch import Tensor

from ebm_cli.derivatives import Jet, sweep
from ebm_cli.energies.bounded_inputs import BoundedInputs
from tests.support import seeded


def rows(n: int = 20_000) -> Tensor:
    mixed = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.1, 0.3], [0.0, 0.0, 0.2]])
    return torch.randn(n, 3, generator=seeded()) @ mixed + 2.0


def test_inputs_are_white_over_the_data() -> None:
    u = BoundedInputs(3, rows(), bound=5.0)(rows())
    torch.testing.assert_close(u.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(u.T.cov(), torch.eye(3), atol=0.05, rtol=0)


def test_inputs_do_not_see_how_far_a_point_is() -> None:
    inputs = BoundedInputs(3, rows(), bound=5.0)
    far = inputs(torch.tensor([[1e4, -1e4, 1e4], [1e30, -1e30, 1e30]]))
    assert far.isfinite().all()
    torch.testing.assert_close(far[0], far[1])


def test_inputs_are_affine_near_the_centre() -> None:
    """With a wide bound, tanh(t) = t − t³/3 is t up to 1e-6 over the data."""
    inputs, x = BoundedInputs(3, rows(), bound=5000.0).double(), rows(5).double()
    middle = inputs(0.5 * (x[:1] + x))
    torch.testing.assert_close(middle, 0.5 * (inputs(x[:1]) + inputs(x)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("column", [torch.zeros(500), torch.arange(500) // 400.0, 1e3 * torch.arange(500.0)])
def test_inputs_of_any_column_are_finite(column: Tensor) -> None:
    x = torch.stack([torch.randn(500, generator=seeded()), column.float()], 1)
    u = BoundedInputs(2, x, bound=5.0)(x)
    assert u.isfinite().all()
    assert u.abs().max() < 100


def test_rows_far_out_do_not_move_the_inputs() -> None:
    x = rows(2000)
    spoilt = torch.cat((x, torch.full((20, 3), 1e6)))
    inputs = [BoundedInputs(3, data, bound=5.0) for data in (x, spoilt)]
    torch.testing.assert_close(inputs[0].scale, inputs[1].scale, rtol=0.05, atol=0)


def test_rule_of_the_inputs_equals_autograd() -> None:
    inputs = BoundedInputs(3, rows(500), bound=2.0).double()
    x, v = rows(4).double(), torch.randn(2, 4, 3, generator=seeded()).double()
    out, pullback = sweep(inputs, Jet(x, v))
    assert out.first is not None
    assert out.second is not None
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for k in range(2):
        first = torch.func.jvp(inputs, (x,), (v[k],))[1]
        torch.testing.assert_close(out.first[k], first)
        expected += torch.func.jvp(lambda y, k=k: torch.func.jvp(inputs, (y,), (v[k],))[1], (x,), (v[k],))[1]
    torch.testing.assert_close(out.second, expected)
    g = torch.randn(4, 3, generator=seeded(1)).double()
    torch.testing.assert_close(pullback(g), torch.func.vjp(inputs, x)[1](g)[0])


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan])
def test_bound_must_be_positive(bound: float) -> None:
    with pytest.raises(ValueError, match="bound must be > 0"):
        BoundedInputs(2, None, bound)
